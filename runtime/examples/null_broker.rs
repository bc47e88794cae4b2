//! Question: what does a request cost an executor that does nothing with it?
//!
//! `null_broker PORT CORE` answers every request of RocketMQ's protocol with the same success, on one executor that is
//! pinned to a core. It stores nothing, so what it costs is waking, receiving and sending through the `runtime`.
//! `null_epoll` does the same without it. `loadtest/compare/wakes.sh` measures both.

use std::process::ExitCode;

use runtime::{Connection, Executor, Mesh, Settings, Stop, run};

use answer::Received;

#[path = "null_server/answer.rs"]
mod answer;
#[path = "null_server/arguments.rs"]
mod arguments;

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("null_broker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), String> {
    let (address, core) = arguments::address_and_core()?;
    let main = move |here: Executor, _: Mesh<()>| async move {
        let listener = here.listen(address).map_err(|error| error.to_string())?;
        arguments::announce(listener.local_addr()).map_err(|error| error.to_string())?;
        loop {
            let connection = listener.accept().await.map_err(|error| error.to_string())?;
            here.spawn(answer_all(connection));
        }
    };
    run(Settings::on_cores("null", &[core]), Stop::new(), main).map_err(|error| error.to_string())
}

/// Until the peer ends the connection, or sends what is no frame.
async fn answer_all(connection: Connection) {
    let (mut reader, mut writer, _closer) = connection.split();
    let (mut received, mut answers) = (Received::default(), Vec::new());
    while let Ok(read @ 1..) = reader.read(received.room()).await {
        answers.clear();
        if let Err(error) = received.answer(read, &mut answers) {
            eprintln!("null_broker: a connection is closed: {error:?}");
            break;
        }
        if writer.write_all(&answers).await.is_err() {
            break;
        }
    }
}
