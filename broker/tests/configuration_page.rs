//! `deploy/configuration.md` is generated from the tables of keys, of brokers and name servers, and is what they say now.

mod pages;

const COMMAND: &str = "RINGMQ_WRITE_PAGES=1 cargo test -p broker --test configuration_page";

fn page() -> String {
    let head = format!(
        "# All configuration keys\n\n\
         Generated from the tables in the code, which `mqbroker --keys` and `mqnamesrv --keys` print, too (`--keys=json` for \
         programs). After a change of those tables: `{COMMAND}`.\n\n"
    );
    let broker = broker::config::key_list().markdown();
    let name_server = namesrv::config::key_list().markdown();
    format!("{head}{broker}\n{name_server}")
}

#[test]
fn the_page_is_the_generated_one() {
    pages::check("configuration.md", &page(), "the tables", COMMAND);
}
