//! Which points are kept, and why: a pure plan from rules, guards and points.
//!
//! Points are ordered by the time of their source, never by name or by when they were stored, and each source by itself.
//! A rule like "daily 7" keeps the newest point of each of the last seven days that have one, by the calendar of a time
//! zone, and the oldest point as long as there are fewer. A point that is known to be damaged fills no such place where
//! another one of the same period can. Beside the rules stand guards, which no rule overrides: pins, holds, the newest
//! point that can be restored, the newest that was proven by restoring it, a least number of restorable points, a least
//! age, and points whose clock was ahead, as nobody knows where they belong. Planning again what a plan kept keeps it all.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::str::FromStr;

use format::id::PointId;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

/// How many points of each period are kept. Nothing that is not said keeps anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// The newest ones, whatever their time.
    pub last: Option<NonZeroU32>,
    /// One for each period, for so many periods.
    pub periods: BTreeMap<Period, NonZeroU32>,
    /// All that are not older than this, counted back from the newest of their source.
    pub within: Option<Distance>,
    /// All with one of these tags.
    pub tags: BTreeSet<(String, String)>,
}

/// A stretch of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    /// An hour; the one that comes twice when clocks are put back counts twice.
    Hour,
    /// A day.
    Day,
    /// A week from Monday on (ISO 8601).
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

/// What no rule overrides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The time, as far as it can be believed, in UTC nanoseconds: pins that end later have not ended.
    pub now: i64,
    /// So many restorable points of each source stay.
    pub least: u32,
    /// Points that were stored after this moment stay, in UTC nanoseconds.
    pub young_since: i64,
}

/// A point, as far as a plan looks at it.
#[derive(Clone, Debug)]
pub struct Candidate<'p> {
    /// The point.
    pub id: PointId,
    /// Its source.
    pub source: &'p str,
    /// The time of its content, in UTC nanoseconds.
    pub as_of: i64,
    /// When it was stored, in UTC nanoseconds.
    pub stored: i64,
    /// Its tags.
    pub tags: &'p [(String, String)],
    /// Until when it is pinned, in UTC nanoseconds.
    pub pinned_until: Option<i64>,
    /// Whether it is under a legal hold.
    pub is_held: bool,
    /// Whether damage of it is known.
    pub is_damaged: bool,
    /// Whether parts of it may have been swept, as a session was given up: nobody has looked.
    pub is_doubtful: bool,
    /// Whether it was restored for a proof (L3).
    pub is_proven: bool,
    /// Whether its clock was ahead.
    pub is_ahead: bool,
}

impl Candidate<'_> {
    /// Whether it is as good as any.
    fn is_sound(&self) -> bool {
        !self.is_damaged && !self.is_doubtful
    }
}

/// Why a point is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It is one of the newest.
    Last,
    /// It stands for a period.
    Of(Period),
    /// There are fewer than asked for of this period, and it is the oldest.
    OldestOf(Period),
    /// It is young enough.
    Within,
    /// Of its tags.
    Tag,
    /// It is pinned.
    Pinned,
    /// It is under a legal hold.
    Held,
    /// It is the newest of its source that can be restored.
    NewestRestorable,
    /// It is the newest of its source that was proven by restoring it.
    NewestProven,
    /// Fewer would be left than were promised.
    Least,
    /// It was stored too recently.
    Young,
    /// Its clock was ahead.
    Ahead,
    /// Parts of it may be gone, and it may be the best there is: whoever verifies it knows.
    Doubtful,
}

impl Reason {
    /// What scripts call it.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Last => "last",
            Reason::Of(period) => period.names().0,
            Reason::OldestOf(period) => period.names().1,
            Reason::Within => "within",
            Reason::Tag => "tag",
            Reason::Pinned => "pinned",
            Reason::Held => "held",
            Reason::NewestRestorable => "newest_restorable",
            Reason::NewestProven => "newest_proven",
            Reason::Least => "least",
            Reason::Young => "young",
            Reason::Ahead => "clock_ahead",
            Reason::Doubtful => "doubtful",
        }
    }

    /// Whether it comes from a guard and not from a rule.
    pub fn is_guard(self) -> bool {
        self >= Reason::Pinned
    }
}

/// For each point why it is kept; those without a reason are not.
pub type Reasons = BTreeMap<PointId, BTreeSet<Reason>>;

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing was said to be kept.
    #[error("these rules keep nothing: say at least one of --keep-last, --keep-daily and so on")]
    Nothing,
    /// No point of a source has a tag that is kept, and nothing else is.
    #[error("these rules keep nothing of source {0}: none of its points has such a tag")]
    NothingOf(String),
}

/// For each point why it is kept. `zone` says when a day begins.
pub fn plan(
    keep: &Keep,
    guard: Guard,
    points: &[Candidate<'_>],
    zone: &TimeZone,
) -> Result<Reasons, Refused> {
    if *keep == Keep::default() {
        return Err(Refused::Nothing);
    }
    let mut reasons = guards(guard, points);
    for (source, of_source) in by_source(points) {
        // Where a clock was ahead, nobody knows which period the point belongs to.
        let placed: Vec<&Candidate<'_>> = of_source.into_iter().filter(|point| !point.is_ahead).collect();
        let mut given = false;
        apply_rules(keep, &placed, zone, &mut |point, reason| {
            given = true;
            reasons.entry(point.id).or_default().insert(reason);
        });
        if !given && !placed.is_empty() {
            return Err(Refused::NothingOf(source.to_owned()));
        }
    }
    Ok(reasons)
}

/// For each point the guards that it is kept by.
pub fn guards(guard: Guard, points: &[Candidate<'_>]) -> Reasons {
    let mut reasons: Reasons = points.iter().map(|point| (point.id, BTreeSet::new())).collect();
    for of_source in by_source(points).values() {
        apply_guards(guard, of_source, &mut |point, reason| {
            reasons.entry(point.id).or_default().insert(reason);
        });
    }
    reasons
}

/// The points of each source, newest first.
fn by_source<'c, 'p>(points: &'c [Candidate<'p>]) -> BTreeMap<&'p str, Vec<&'c Candidate<'p>>> {
    let mut sources: BTreeMap<&str, Vec<&Candidate<'_>>> = BTreeMap::new();
    for point in points {
        sources.entry(point.source).or_default().push(point);
    }
    for of_source in sources.values_mut() {
        of_source.sort_by_key(|point| std::cmp::Reverse((point.as_of, point.stored, point.id)));
    }
    sources
}

/// Newest first.
fn apply_guards(guard: Guard, points: &[&Candidate<'_>], give: &mut impl FnMut(&Candidate<'_>, Reason)) {
    for point in points {
        let is_pinned = point.pinned_until.is_some_and(|until| until > guard.now);
        let reasons = [
            (is_pinned, Reason::Pinned),
            (point.is_held, Reason::Held),
            (point.is_ahead, Reason::Ahead),
            (point.is_doubtful && !point.is_damaged, Reason::Doubtful),
            (point.stored > guard.young_since, Reason::Young),
        ];
        reasons.into_iter().filter(|(so, _)| *so).for_each(|(_, reason)| give(point, reason));
    }
    let restorable = || points.iter().filter(|point| point.is_sound() && !point.is_ahead);
    restorable().take(guard.least as usize).for_each(|point| give(point, Reason::Least));
    // With none that is known to be whole, the newest of all may be the best there is.
    if let Some(point) = restorable().next().or(points.first()) {
        give(point, Reason::NewestRestorable);
    }
    if let Some(point) = restorable().find(|point| point.is_proven) {
        give(point, Reason::NewestProven);
    }
}

/// Newest first.
fn apply_rules(
    keep: &Keep,
    points: &[&Candidate<'_>],
    zone: &TimeZone,
    give: &mut impl FnMut(&Candidate<'_>, Reason),
) {
    if let Some(last) = keep.last {
        let sound = points.iter().filter(|point| point.is_sound());
        let others = points.iter().filter(|point| !point.is_sound());
        sound.chain(others).take(last.get() as usize).for_each(|point| give(point, Reason::Last));
    }
    for (period, count) in &keep.periods {
        apply_period(*period, count.get() as usize, points, zone, give);
    }
    if let (Some(within), Some(newest)) = (keep.within, points.first()) {
        let oldest = within.before(newest.as_of, zone);
        points.iter().filter(|p| p.as_of >= oldest).for_each(|p| give(p, Reason::Within));
    }
    let tagged = points.iter().filter(|point| point.tags.iter().any(|tag| keep.tags.contains(tag)));
    tagged.for_each(|point| give(point, Reason::Tag));
}

/// Newest first. Periods are ordered by the calendar: where clocks are put back over midnight, points of two days alternate.
fn apply_period(
    period: Period,
    count: usize,
    points: &[&Candidate<'_>],
    zone: &TimeZone,
    give: &mut impl FnMut(&Candidate<'_>, Reason),
) {
    let mut stands: BTreeMap<Place, &Candidate<'_>> = BTreeMap::new();
    for point in points {
        let stand = stands.entry(period.place(point.as_of, zone)).or_insert(point);
        if !stand.is_sound() && point.is_sound() {
            *stand = point;
        }
    }
    stands.values().rev().take(count).for_each(|point| give(point, Reason::Of(period)));
    if stands.len() < count {
        let sound = points.iter().rev().find(|point| point.is_sound());
        if let Some(point) = sound.or(points.last()) {
            give(point, Reason::OldestOf(period));
        }
    }
}

/// Year, then month or week, day, hour, and how far the hour lies behind UTC in seconds: what a period does not tell apart
/// is zero. Later ones are greater.
type Place = (i16, i8, i8, i8, i32);

impl Period {
    fn place(self, ns: i64, zone: &TimeZone) -> Place {
        let at = zoned(ns, zone);
        match self {
            Period::Hour => (at.year(), at.month(), at.day(), at.hour(), -at.offset().seconds()),
            Period::Day => (at.year(), at.month(), at.day(), 0, 0),
            Period::Week => {
                let week = at.date().iso_week_date();
                (week.year(), week.week(), 0, 0, 0)
            }
            Period::Month => (at.year(), at.month(), 0, 0, 0),
            Period::Year => (at.year(), 0, 0, 0, 0),
        }
    }

    /// For a point that stands for such a period, and for the oldest one.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Period::Hour => ("hourly", "oldest_hourly"),
            Period::Day => ("daily", "oldest_daily"),
            Period::Week => ("weekly", "oldest_weekly"),
            Period::Month => ("monthly", "oldest_monthly"),
            Period::Year => ("yearly", "oldest_yearly"),
        }
    }
}

fn zoned(ns: i64, zone: &TimeZone) -> Zoned {
    let at = Timestamp::from_nanosecond(i128::from(ns));
    at.expect("64 bits of nanoseconds end in the year 2262").to_zoned(zone.clone())
}

/// How far one moment lies from another by the calendar; written as `6h`, `30d`, `2w`, `3mo`, `1y`, or several in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Distance {
    /// Years count as twelve.
    months: u32,
    /// Weeks count as seven.
    days: u32,
    hours: u32,
}

impl Distance {
    /// The moment so far before `ns`, or the earliest that can be told.
    pub fn before(self, ns: i64, zone: &TimeZone) -> i64 {
        self.span().and_then(|span| zoned(ns, zone).checked_sub(span).ok()).map_or(i64::MIN, |at| nanos(&at))
    }

    /// The moment so far after `ns`, or the latest that can be told.
    pub fn after(self, ns: i64, zone: &TimeZone) -> i64 {
        self.span().and_then(|span| zoned(ns, zone).checked_add(span).ok()).map_or(i64::MAX, |at| nanos(&at))
    }

    /// `None` where it is longer than any calendar.
    fn span(self) -> Option<Span> {
        let months = Span::new().try_months(self.months).ok()?;
        months.try_days(self.days).ok()?.try_hours(self.hours).ok()
    }

    fn add(&mut self, number: u32, unit: &str) -> Option<()> {
        let (of, each) = match unit {
            "h" => (&mut self.hours, 1),
            "d" => (&mut self.days, 1),
            "w" => (&mut self.days, 7),
            "mo" => (&mut self.months, 1),
            "y" => (&mut self.months, 12),
            _ => return None,
        };
        *of = number.checked_mul(each)?.checked_add(*of)?;
        Some(())
    }

    fn parse(mut text: &str) -> Option<Distance> {
        let mut distance = Distance::default();
        while !text.is_empty() {
            let (digits, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
            let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            distance.add(digits.parse().ok()?, &rest[..end])?;
            text = &rest[end..];
        }
        Some(distance).filter(|distance| *distance != Distance::default())
    }
}

/// Of a time that a calendar can tell and 64 bits cannot, the nearest that they can.
fn nanos(at: &Zoned) -> i64 {
    let exact = at.timestamp().as_nanosecond();
    i64::try_from(exact).unwrap_or(if exact < 0 { i64::MIN } else { i64::MAX })
}

/// As it may be typed.
impl std::fmt::Display for Distance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [(self.months / 12, "y"), (self.months % 12, "mo"), (self.days, "d"), (self.hours, "h")];
        parts.into_iter().filter(|(number, _)| *number > 0).try_for_each(|(n, unit)| write!(f, "{n}{unit}"))
    }
}

impl FromStr for Distance {
    type Err = NoDistance;

    fn from_str(typed: &str) -> Result<Distance, NoDistance> {
        Distance::parse(typed.trim()).ok_or_else(|| NoDistance(typed.to_owned()))
    }
}

/// What was typed is no distance in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no length of time: 6h, 30d, 2w, 3mo and 1y are, and several in a row such as 1y6mo")]
pub struct NoDistance(String);

#[cfg(test)]
mod tests;
