//! A summary as CSV (RFC 4180): a line with the columns' names, then the rows.
//!
//! Contract: it is the object that `--json` prints, laid flat: the fields of an object inside it are columns of their own,
//! `latency_mean`; of a list of pairs each pair is one, by its first half, `latency_percentiles_99.9`. Where a summary is of
//! several things (ports, flows), there is a row for each, and what is of the whole run stands in every row. What is not
//! known (null) is empty.
//!
//! Not here: other lists of objects, which only `--json` has.

use serde::Serialize;
use serde_json::Value;

/// Which list of a summary the rows are of.
#[derive(Clone, Copy, Debug)]
pub enum Rows {
    /// None: there is one row.
    One,
    /// The list of that name; if it is empty, one row.
    Each(&'static str),
    /// The list of that name; if it is empty, there is none, and no line with names.
    Only(&'static str),
}

/// The summary as text.
///
/// # Errors
/// When it can't be put into words; numbers and texts can.
pub fn render(summary: &impl Serialize, rows: Rows) -> Result<String, String> {
    let value = serde_json::to_value(summary).map_err(|error| error.to_string())?;
    let (list, needed) = match rows {
        Rows::One => ("", false),
        Rows::Each(list) => (list, false),
        Rows::Only(list) => (list, true),
    };
    let mut whole = Row::default();
    for (name, value) in value.as_object().into_iter().flatten().filter(|(name, _)| *name != list) {
        whole.flatten(name, value);
    }
    let each = value.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<Row> = match each {
        [] if needed => Vec::new(),
        [] => vec![whole],
        each => each.iter().map(|item| Row::of(item, &whole)).collect(),
    };
    // Not all of them have all columns: devices count different things.
    let mut columns: Vec<&str> = Vec::new();
    for (name, _) in rows.iter().flat_map(|row| &row.0) {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    if columns.is_empty() {
        return Ok(String::new());
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&columns).map_err(|error| error.to_string())?;
    for row in &rows {
        let record = columns.iter().map(|column| row.get(column));
        writer.write_record(record).map_err(|error| error.to_string())?;
    }
    let bytes = writer.into_inner().map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

/// Columns and their values.
#[derive(Clone, Debug, Default)]
struct Row(Vec<(String, String)>);

impl Row {
    /// One of several, with what is of all of them.
    fn of(item: &Value, whole: &Self) -> Self {
        let mut row = Self::default();
        for (name, value) in item.as_object().into_iter().flatten() {
            row.flatten(name, value);
        }
        for (name, value) in &whole.0 {
            // A name of its own goes before that of the whole: both have bytes, say.
            let name = if row.has(name) { format!("all_{name}") } else { name.clone() };
            row.0.push((name, value.clone()));
        }
        row
    }

    fn has(&self, column: &str) -> bool {
        self.0.iter().any(|(name, _)| name == column)
    }

    fn get(&self, column: &str) -> &str {
        self.0.iter().find(|(name, _)| name == column).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    fn flatten(&mut self, name: &str, value: &Value) {
        let text = match value {
            Value::Null => String::new(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::String(text) => text.clone(),
            Value::Object(fields) => {
                for (field, value) in fields {
                    self.flatten(&format!("{name}_{field}"), value);
                }
                return;
            }
            Value::Array(items) => {
                let pairs: Option<Vec<_>> = items.iter().map(pair).collect();
                match pairs {
                    Some(pairs) if !pairs.is_empty() => {
                        for (key, value) in pairs {
                            self.flatten(&format!("{name}_{key}"), value);
                        }
                        return;
                    }
                    _ if items.iter().any(Value::is_object) => return,
                    _ => items.iter().map(plain).collect::<Vec<_>>().join("; "),
                }
            }
        };
        self.0.push((name.to_owned(), text));
    }
}

/// A name or number, and what belongs to it.
fn pair(item: &Value) -> Option<(String, &Value)> {
    match item.as_array().map(Vec::as_slice) {
        Some([key, value]) => Some((plain(key), value)),
        _ => None,
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_is_one_row_with_what_is_in_it_laid_flat() {
        let summary = json!({
            "port": "emulated:0",
            "missed": null,
            "found": {"lost": 3, "ok": true},
            "latency": {"mean": 1.5, "percentiles": [[50.0, 7], [99.9, 9]]},
            "flows": [],
            "errors": ["a, b", "c"],
            "streams": [{"lost": 1}],
        });
        let text = render(&summary, Rows::Each("flows")).unwrap();
        assert_eq!(
            text,
            "port,missed,found_lost,found_ok,latency_mean,latency_percentiles_50.0,latency_percentiles_99.9,errors\n\
             emulated:0,,3,true,1.5,7,9,\"a, b; c\"\n"
        );
    }

    #[test]
    fn each_of_a_list_is_a_row_and_what_is_of_all_stands_in_every_one() {
        let summary = json!({
            "bytes": 3,
            "ports": [{"name": "a", "bytes": 1, "device": {"x": 5}}, {"name": "b", "bytes": 2, "device": {"y": 6}}],
            "seconds": 0.5,
        });
        let text = render(&summary, Rows::Each("ports")).unwrap();
        assert_eq!(text, "name,bytes,device_x,all_bytes,seconds,device_y\na,1,5,3,0.5,\nb,2,,3,0.5,6\n");
        assert_eq!(render(&json!({"top": [], "a": 1}), Rows::Only("top")).unwrap(), "");
    }
}
