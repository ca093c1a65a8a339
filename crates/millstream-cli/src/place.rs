//! Places in a topic and points in time, as people write them: `earliest`, `42`, `-5`, `2026-11-21T08:00:00Z`, `-10m`.
//!
//! One spelling for every option that takes one. A time without a zone is UTC, as in everything this program prints.

use anyhow::bail;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use millstream::{Clock as _, SystemClock, Timestamp};
use millstream_systems::duration;

/// A place in a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The first record there is.
    Earliest,
    /// The end.
    End,
    /// This offset, in each partition.
    Offset(i64),
    /// This number of records before the end.
    Last(u64),
    /// The first record of this time or later.
    Time(Timestamp),
}

impl Place {
    /// Reads a place; a time ago counts from `now`.
    pub(crate) fn parse(text: &str, now: Timestamp) -> anyhow::Result<Self> {
        match text {
            "earliest" | "beginning" => return Ok(Self::Earliest),
            "latest" | "end" => return Ok(Self::End),
            _ => {}
        }
        if let Ok(number) = text.parse::<i64>() {
            return Ok(match number {
                0 if text.starts_with('-') => bail!(
                    "`{text}` is not a place; write latest to begin at the end, or 0 for the first offset"
                ),
                0.. => Self::Offset(number),
                _ => Self::Last(number.unsigned_abs()),
            });
        }
        match time_at(text, now) {
            Some(at) => Ok(Self::Time(at)),
            None => bail!(
                "`{text}` is not a place; write earliest, latest, an offset, -5 for the last five records, 2026-11-21T08:00:00Z, or -10m"
            ),
        }
    }
}

/// Reads a point in time, for `clap`.
pub(crate) fn parse_time(text: &str) -> Result<Timestamp, String> {
    time_at(text, SystemClock::new().wall()).ok_or_else(|| {
        format!("`{text}` is not a time; write 2026-11-21T08:00:00Z, 2026-11-21, or -10m")
    })
}

/// A time with a zone, one in UTC without, a date, or a time before `now`.
fn time_at(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(ago) = text.strip_prefix('-') {
        let ago = i64::try_from(duration::parse(ago).ok()?.as_millis()).ok()?;
        return Some(Timestamp::from_millis(now.millis().checked_sub(ago)?));
    }
    let zoned = text.parse::<jiff::Timestamp>().ok();
    let at = zoned
        .or_else(|| in_utc(text.parse::<DateTime>().ok()?))
        .or_else(|| in_utc(text.parse::<Date>().ok()?.into()))?;
    Some(Timestamp::from_millis(at.as_millisecond()))
}

fn in_utc(at: DateTime) -> Option<jiff::Timestamp> {
    Some(at.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// A record's time as it is printed, in UTC with milliseconds; `None` if the record carries none.
pub(crate) fn text_of(time: Timestamp) -> Option<String> {
    let at = jiff::Timestamp::from_millisecond(time.millis()).ok();
    at.filter(|_| time.is_known()).map(|at| format!("{at:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn place(text: &str) -> anyhow::Result<Place> {
        Place::parse(text, at("2026-11-21T08:10:00Z"))
    }

    #[test]
    fn every_kind_of_place_is_read() {
        let read = |text| place(text).unwrap();
        assert_eq!(read("earliest"), Place::Earliest);
        assert_eq!(read("latest"), Place::End);
        assert_eq!(read("42"), Place::Offset(42));
        assert_eq!(read("-5"), Place::Last(5));
        for (text, expected) in [
            ("2026-11-21T08:00:00Z", "2026-11-21T08:00:00Z"),
            ("2026-11-21T08:00:00.250+02:00", "2026-11-21T06:00:00.250Z"),
            ("2026-11-21T08:00", "2026-11-21T08:00:00Z"),
            ("2026-11-21 08:00:00", "2026-11-21T08:00:00Z"),
            ("2026-11-21", "2026-11-21T00:00:00Z"),
            ("-10m", "2026-11-21T08:00:00Z"),
            ("-1d", "2026-11-20T08:10:00Z"),
            ("-1d12h", "2026-11-19T20:10:00Z"),
        ] {
            assert_eq!(read(text), Place::Time(at(expected)), "{text}");
        }
    }

    #[test]
    fn an_unknown_place_is_refused_with_all_kinds() {
        for wrong in ["yesterday", "-", "10m", "2026-13-01", "-1y"] {
            assert_eq!(
                place(wrong).unwrap_err().to_string(),
                format!(
                    "`{wrong}` is not a place; write earliest, latest, an offset, -5 for the last five records, 2026-11-21T08:00:00Z, or -10m"
                )
            );
        }
    }

    #[test]
    fn a_record_without_a_time_shows_none() {
        assert_eq!(text_of(Timestamp::UNKNOWN), None);
        assert_eq!(
            text_of(at("2026-11-21T08:00:00Z")).as_deref(),
            Some("2026-11-21T08:00:00.000Z")
        );
    }
}
