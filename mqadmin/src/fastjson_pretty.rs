//! JSON as Java's tools print it (fastjson, `PrettyFormat`): tabs, names in order, no blank behind a colon. A table with
//! numbers for keys stays on its line, and its keys have no quotes.

use serde_json::Value;

/// The text of a value.
pub(crate) fn text(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, 0);
    out
}

fn write(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                line(out, depth + 1);
                write(out, item, depth + 1);
            }
            line(out, depth);
            out.push(']');
        }
        Value::Object(members) if !members.is_empty() => {
            let numbers = members.keys().all(|key| key.parse::<i64>().is_ok());
            out.push('{');
            for (index, (name, member)) in members.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                if numbers {
                    out.push_str(name);
                } else {
                    line(out, depth + 1);
                    out.push_str(&Value::from(name.as_str()).to_string());
                }
                out.push(':');
                write(out, member, depth + 1);
            }
            line(out, depth);
            out.push('}');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n('\t', depth));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn values_look_as_fastjson_prints_them() {
        let value = json!({"a": [{"b": {"0": "x:1", "1": "y:2"}}], "c": {}, "d": [], "e": 1});
        let expected = "{\n\t\"a\":[\n\t\t{\n\t\t\t\"b\":{0:\"x:1\",1:\"y:2\"\n\t\t\t}\n\t\t}\n\t],\n\t\"c\":{},\n\t\"d\":[],\n\t\"e\":1\n}";
        assert_eq!(super::text(&value), expected);
    }
}
