//! What the ledger holds, added up and printed.

use std::path::Path;

use super::ledger::LedgerError;
use super::sqlite;

/// What to add up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Of `account`, `meter`, `hour`, `day`, `month` (all UTC) and the names of dimensions. Empty means `account`, `meter` and
    /// every dimension that the ledger knows.
    pub by: Vec<String>,
    /// Unix milliseconds; the minute it is in is included.
    pub since: Option<u64>,
    /// Unix milliseconds; a minute that begins there or later is not included.
    pub until: Option<u64>,
    /// Only this one.
    pub account: Option<String>,
    /// Only this one.
    pub meter: Option<String>,
}

/// One line of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    /// Name and value in the order of [`Query::by`]; the value is empty where a row has no such dimension.
    pub labels: Vec<(String, String)>,
    /// Units.
    pub quantity: u128,
    /// Calls of `meter()`.
    pub lines: u64,
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns.
    Table,
    /// RFC 4180, with a heading.
    Csv,
    /// An array of objects.
    Json,
}

/// Adds up what the ledger at `path` holds, whether a gateway writes to it or not.
pub fn read(path: &Path, query: &Query) -> Result<Vec<Total>, LedgerError> {
    sqlite::read(path, query)
}

/// Prints totals; every line ends with a newline.
pub fn render(totals: &[Total], format: Format) -> String {
    match format {
        Format::Table => table(totals),
        Format::Csv => csv(totals),
        Format::Json => json(totals),
    }
}

fn heading(totals: &[Total]) -> Vec<&str> {
    let labels = totals.first().map(|total| total.labels.as_slice()).unwrap_or_default();
    labels.iter().map(|(name, _)| name.as_str()).chain(["quantity"]).collect()
}

fn table(totals: &[Total]) -> String {
    if totals.is_empty() {
        return "no usage\n".to_owned();
    }
    let mut rows: Vec<Vec<String>> = vec![heading(totals).iter().map(|name| visible(name)).collect()];
    for total in totals {
        let quantity = total.quantity.to_string();
        rows.push(total.labels.iter().map(|(_, value)| visible(value)).chain([quantity]).collect());
    }
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if column + 1 < columns {
                text.push_str(&format!("{cell:<width$}  "));
            } else {
                text.push_str(&format!("{cell:>width$}\n"));
            }
        }
    }
    text
}

/// Accounts and dimensions come from tokens: nothing in them may steer a terminal.
fn visible(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

fn csv(totals: &[Total]) -> String {
    let mut text = String::new();
    let mut line = |cells: Vec<String>| {
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    };
    line(heading(totals).into_iter().map(cell).collect());
    for total in totals {
        line(total.labels.iter().map(|(_, value)| cell(value)).chain([total.quantity.to_string()]).collect());
    }
    text
}

/// RFC 4180 quotes; a leading apostrophe keeps spreadsheets from taking a customer's text for a formula.
fn cell(text: &str) -> String {
    let shield = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if shield.is_empty() && !text.contains([',', '"', '\r', '\n']) {
        return text.to_owned();
    }
    format!("\"{shield}{}\"", text.replace('"', "\"\""))
}

fn json(totals: &[Total]) -> String {
    let objects: Vec<String> = totals.iter().map(object).collect();
    if objects.is_empty() {
        return "[]\n".to_owned();
    }
    format!("[\n  {}\n]\n", objects.join(",\n  "))
}

fn object(total: &Total) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    // A row without a dimension has no member of that name.
    let labels = total.labels.iter().filter(|(name, value)| !value.is_empty() || is_column(name));
    let mut members: Vec<String> = labels.map(|(name, value)| format!("{}: {}", text(name), text(value))).collect();
    // By hand, because JSON numbers have no bounds and serde_json's have.
    members.push(format!("\"quantity\": {}", total.quantity));
    format!("{{{}}}", members.join(", "))
}

fn is_column(name: &str) -> bool {
    matches!(name, "account" | "meter")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals() -> Vec<Total> {
        let total = |account: &str, meter: &str, plan: &str, quantity| Total {
            labels: [("account", account), ("meter", meter), ("plan", plan)].map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
            quantity,
            lines: 1,
        };
        vec![total("initech", "api_calls", "free", 60), total("=cmd|'/c calc'!A1, \"x\"", "egress_bytes", "", 1 << 70)]
    }

    #[test]
    fn a_table_is_aligned_and_cannot_steer_a_terminal() {
        let mut totals = totals();
        totals[1].labels[0].1 = "\u{1b}[2Jsoylent".to_owned();
        assert_eq!(
            render(&totals, Format::Table),
            "account      meter         plan                quantity\n\
             initech      api_calls     free                      60\n\
             \u{fffd}[2Jsoylent  egress_bytes        1180591620717411303424\n"
        );
        assert_eq!(render(&[], Format::Table), "no usage\n");
    }

    #[test]
    fn rfc_4180_quotes_and_no_formula_reaches_a_spreadsheet() {
        assert_eq!(
            render(&totals(), Format::Csv),
            "account,meter,plan,quantity\r\n\
             initech,api_calls,free,60\r\n\
             \"'=cmd|'/c calc'!A1, \"\"x\"\"\",egress_bytes,,1180591620717411303424\r\n"
        );
        assert_eq!(cell("-1"), "\"'-1\"");
        assert_eq!(cell("line\nbreak"), "\"line\nbreak\"");
    }

    #[test]
    fn json_is_an_array_of_objects_with_whole_numbers() {
        let text = render(&totals(), Format::Json);
        assert_eq!(
            text,
            "[\n  {\"account\": \"initech\", \"meter\": \"api_calls\", \"plan\": \"free\", \"quantity\": 60},\n  \
             {\"account\": \"=cmd|'/c calc'!A1, \\\"x\\\"\", \"meter\": \"egress_bytes\", \"quantity\": 1180591620717411303424}\n]\n"
        );
        let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed[0]["quantity"], 60);
        assert_eq!(render(&[], Format::Json), "[]\n");
    }
}
