use clap::{Args, ValueEnum};

use super::{Failure, Source, check, terminal};
use crate::billing::report::{self, Format, Query};

/// What customers used, from the ledger; works while a gateway runs and when none does.
#[derive(Debug, Args)]
pub(super) struct Usage {
    #[command(flatten)]
    source: Source,
    /// What to group by: account, meter, a dimension, or a window (hour, day, month) [default: account, meter and all dimensions]
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    by: Vec<String>,
    /// Only usage from then on: 2026-11-24, 2026-11-24T10:00:00Z, or an age such as 2h or 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only usage before then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only this customer
    #[arg(long)]
    account: Option<String>,
    /// Only this meter
    #[arg(long)]
    meter: Option<String>,
    /// How to print it
    #[arg(long, value_enum, default_value = "table")]
    format: Shape,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shape {
    /// For people
    Table,
    /// For spreadsheets
    Csv,
    /// An array of objects
    Json,
}

impl Usage {
    pub(super) fn execute(self) -> Result<(), Failure> {
        let loaded = check::load(&self.source.path())?;
        let Some(ledger) = &loaded.config.billing.ledger else {
            return Err(Failure::new("this configuration has no `billing:` section, so there is no ledger"));
        };
        let query = Query {
            by: self.by,
            since: self.since.as_deref().map(instant).transpose()?,
            until: self.until.as_deref().map(instant).transpose()?,
            account: self.account,
            meter: self.meter,
        };
        let totals = report::read(ledger, &query).map_err(|error| Failure::new(error.to_string()))?;
        let format = match self.format {
            Shape::Table => Format::Table,
            Shape::Csv => Format::Csv,
            Shape::Json => Format::Json,
        };
        terminal::print(&report::render(&totals, format));
        Ok(())
    }
}

/// Unix milliseconds of an instant, a date in UTC, or an age.
fn instant(text: &str) -> Result<u64, Failure> {
    let timestamp = text
        .parse::<jiff::Timestamp>()
        .or_else(|_| {
            text.parse::<jiff::civil::Date>()
                .and_then(|date| jiff::tz::TimeZone::UTC.to_timestamp(date.to_datetime(jiff::civil::Time::midnight())))
        })
        .or_else(|_| {
            let age =
                text.parse::<jiff::SignedDuration>().or_else(|error| match text.strip_suffix('d').map(str::parse::<i64>) {
                    Some(Ok(days)) => Ok(jiff::SignedDuration::from_hours(days.saturating_mul(24))),
                    _ => Err(error),
                })?;
            jiff::Timestamp::now().checked_sub(age)
        })
        .map_err(|_| {
            Failure::with_code(
                2,
                format!("`{text}` is no time: write 2026-11-24, 2026-11-24T10:00:00Z, or an age such as 2h or 7d"),
            )
        })?;
    Ok(u64::try_from(timestamp.as_millisecond()).unwrap_or_default())
}
