//! Times as people write and read them: local where they are read, RFC 3339 where scripts are.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

use crate::error::Error;

/// A time of the repository (UTC nanoseconds since 1970).
fn timestamp(ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(ns)).expect("64 bits of nanoseconds end in the year 2262")
}

/// `2026-11-21T09:30:00.5Z`
pub(crate) fn rfc3339(ns: i64) -> String {
    timestamp(ns).to_string()
}

/// `2026-11-21 10:30:00`, in the time zone of this machine.
pub(crate) fn local(ns: i64) -> String {
    local_in(ns, &TimeZone::system())
}

/// The same in another time zone.
pub(crate) fn local_in(ns: i64, zone: &TimeZone) -> String {
    timestamp(ns).to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The same for a file's time, whose seconds may be anything.
pub(crate) fn local_file_time(time: format::meta::FileTime) -> String {
    match Timestamp::new(time.seconds, 0) {
        Ok(stamp) => stamp.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => format!("{} s", time.seconds),
    }
}

/// RFC 3339 of a file's time; `None` where no calendar reaches.
pub(crate) fn rfc3339_file_time(time: format::meta::FileTime) -> Option<String> {
    let nanos = i32::try_from(time.nanos).ok()?;
    Timestamp::new(time.seconds, 0)
        .ok()?
        .checked_add(Span::new().nanoseconds(nanos))
        .ok()
        .map(|t| t.to_string())
}

/// `3 min`, `5 h`, `12 d`: how long ago something was.
pub(crate) fn age(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{} s", seconds.max(0)),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `12.3 s`, `4 min 10 s`, `2 h 5 min`: how long something took or will take.
pub(crate) fn duration(seconds: f64) -> String {
    // Whole seconds are enough from a minute on; a float turns into the nearest number that fits.
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// The moment that was typed, in UTC nanoseconds: an RFC 3339 time, a date with or without a time in this zone, `now`,
/// `yesterday`, or a distance such as `2 hours ago`. A date alone is its first moment.
pub(crate) fn parse(typed: &str, now_ns: i64) -> Result<i64, Error> {
    parse_in(typed, timestamp(now_ns).to_zoned(TimeZone::system()))
}

fn parse_in(typed: &str, now: Zoned) -> Result<i64, Error> {
    let text = typed.trim();
    let found = match text.to_ascii_lowercase().as_str() {
        "now" => Some(now),
        "yesterday" => now.checked_sub(Span::new().days(1)).ok(),
        lower if lower.ends_with("ago") => {
            lower.parse::<Span>().ok().and_then(|span| now.checked_add(span).ok())
        }
        _ => absolute(text, now.time_zone()),
    };
    let ns = found.and_then(|moment| i64::try_from(moment.timestamp().as_nanosecond()).ok());
    ns.ok_or_else(|| {
        Error::Request(format!(
            "`{typed}` is no time: an RFC 3339 time such as 2026-11-21T09:30:00Z, a date such as 2026-11-21 09:30, \
             `yesterday` or `2 hours ago` is accepted"
        ))
    })
}

fn absolute(text: &str, zone: &TimeZone) -> Option<Zoned> {
    if let Ok(stamp) = text.parse::<Timestamp>() {
        return Some(stamp.to_zoned(zone.clone()));
    }
    text.parse::<DateTime>().ok()?.to_zoned(zone.clone()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let now: Zoned = "2026-11-21T12:00:00+02:00[+02:00]".parse().unwrap();
        let rows = [
            ("2026-11-21T09:30:00Z", "2026-11-21T09:30:00Z"),
            ("2026-11-21T09:30:00.5+01:00", "2026-11-21T08:30:00.5Z"),
            ("2026-11-21 09:30", "2026-11-21T07:30:00Z"),
            ("2026-11-21T09:30:15", "2026-11-21T07:30:15Z"),
            ("2026-11-21", "2026-11-20T22:00:00Z"),
            ("now", "2026-11-21T10:00:00Z"),
            ("Yesterday", "2026-11-20T10:00:00Z"),
            ("2 hours ago", "2026-11-21T08:00:00Z"),
            ("90 minutes ago", "2026-11-21T08:30:00Z"),
            ("1 day ago", "2026-11-20T10:00:00Z"),
            ("3 weeks ago", "2026-10-31T10:00:00Z"),
            ("2 months ago", "2026-09-21T10:00:00Z"),
            ("1h ago", "2026-11-21T09:00:00Z"),
        ];
        for (typed, expected) in rows {
            assert_eq!(rfc3339(parse_in(typed, now.clone()).unwrap()), expected, "{typed}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_is() {
        let now: Zoned = "2026-11-21T12:00:00+02:00[+02:00]".parse().unwrap();
        for bad in ["", "soon", "2026-13-01", "ago", "two hours ago", "9999999 years ago", "2 hours"] {
            let error = parse_in(bad, now.clone()).expect_err(bad);
            assert!(error.to_string().contains("2 hours ago"), "{error}");
        }
    }

    #[test]
    fn spans_are_short() {
        assert_eq!([age(5), age(125), age(7300), age(400_000)], ["5 s", "2 min", "2 h", "4 d"]);
        assert_eq!([duration(1.25), duration(61.0), duration(7300.0)], ["1.2 s", "1 min 1 s", "2 h 1 min"]);
    }
}
