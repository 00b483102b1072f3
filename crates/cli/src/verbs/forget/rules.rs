//! The rules of `forget` as they are typed and as they are meant.

use std::num::NonZeroU32;

use clap::Args;
use repo::retention::{Distance, Keep, Period};

use crate::show;
use crate::verbs::backup::tag;

/// What is kept.
#[derive(Args)]
#[group(id = "rules", multiple = true)]
#[command(next_help_heading = "Rules")]
pub(super) struct Rules {
    /// Keep the newest N points
    #[arg(long, value_name = "N")]
    keep_last: Option<NonZeroU32>,
    /// Keep one point for each of N hours
    #[arg(long, value_name = "N")]
    keep_hourly: Option<NonZeroU32>,
    /// Keep one point for each of N days
    #[arg(long, value_name = "N")]
    keep_daily: Option<NonZeroU32>,
    /// Keep one point for each of N weeks, which begin on Mondays
    #[arg(long, value_name = "N")]
    keep_weekly: Option<NonZeroU32>,
    /// Keep one point for each of N months
    #[arg(long, value_name = "N")]
    keep_monthly: Option<NonZeroU32>,
    /// Keep one point for each of N years
    #[arg(long, value_name = "N")]
    keep_yearly: Option<NonZeroU32>,
    /// Keep points that are at most this much older than the newest of their source, such as 12h, 30d, 2w, 3mo or 1y
    #[arg(long, value_name = "D")]
    keep_within: Option<Distance>,
    /// Keep points with this label; more than once for several
    #[arg(long, value_name = "K=V", value_parser = tag)]
    keep_tag: Vec<(String, String)>,
}

impl Rules {
    pub(super) fn meant(&self) -> Keep {
        let periods = [
            (Period::Hour, self.keep_hourly),
            (Period::Day, self.keep_daily),
            (Period::Week, self.keep_weekly),
            (Period::Month, self.keep_monthly),
            (Period::Year, self.keep_yearly),
        ];
        Keep {
            last: self.keep_last,
            periods: periods.into_iter().filter_map(|(period, count)| Some((period, count?))).collect(),
            within: self.keep_within,
            tags: self.keep_tag.iter().cloned().collect(),
        }
    }

    /// The flags as a shell reads them.
    pub(super) fn words(&self) -> Vec<String> {
        let counts = [
            ("--keep-last", self.keep_last),
            ("--keep-hourly", self.keep_hourly),
            ("--keep-daily", self.keep_daily),
            ("--keep-weekly", self.keep_weekly),
            ("--keep-monthly", self.keep_monthly),
            ("--keep-yearly", self.keep_yearly),
        ];
        let counts = counts.into_iter().filter_map(|(flag, count)| Some((flag, count?.to_string())));
        let within = self.keep_within.map(|within| ("--keep-within", within.to_string()));
        let tags = self.keep_tag.iter().map(|(key, value)| ("--keep-tag", format!("{key}={value}")));
        let all = counts.chain(within).chain(tags);
        all.flat_map(|(flag, value)| [flag.to_owned(), show::shell_word(value.as_ref())]).collect()
    }
}
