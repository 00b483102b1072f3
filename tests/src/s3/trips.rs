//! Round trips: which requests can have waited for which.
//!
//! A request that began before another one was answered did not wait for it. So the longest chain in which each began after
//! the one before was answered is how many round trips a client took one after another, whatever the machine's speed, if
//! only each answer is delayed so long that all which leave together have arrived before the first is answered.

use std::time::Duration;

use serde::Serialize;

/// A request of the S3 protocol as the server saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// Method, path and query.
    pub what: String,
    /// When it came, on the server's monotonic clock.
    pub begun: Duration,
    /// When its answer was ready; `None` while it is not, and if the client hung up before.
    pub ended: Option<Duration>,
}

/// The longest chain of requests that follow one another, first to last.
pub fn chain(asked: &[Asked]) -> Vec<&Asked> {
    let mut answered: Vec<(Duration, &Asked)> =
        asked.iter().filter_map(|one| Some((one.ended?, one))).collect();
    answered.sort_by_key(|(ended, _)| *ended);
    let mut chain: Vec<&Asked> = Vec::new();
    let mut before = Duration::ZERO;
    // Whoever is answered first leaves most time for those behind.
    for (ended, one) in answered {
        if chain.is_empty() || one.begun >= before {
            chain.push(one);
            before = ended;
        }
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_takes_one_of_those_that_overlap_and_none_that_was_never_answered() {
        let row = |(begun, ended): &(u64, u64)| Asked {
            what: format!("{begun} to {ended}"),
            begun: Duration::from_millis(*begun),
            ended: (*ended > 0).then(|| Duration::from_millis(*ended)),
        };
        for (rows, length) in [
            (&[][..], 0),
            (&[(5, 6)], 1),
            (&[(0, 10), (10, 20), (20, 30)], 3),
            (&[(0, 10), (1, 11), (2, 12)], 1),
            (&[(0, 100), (1, 10), (12, 20), (30, 40)], 3),
            (&[(0, 10), (3, 0), (11, 12)], 2),
        ] {
            let asked: Vec<Asked> = rows.iter().rev().map(row).collect();
            assert_eq!(chain(&asked).len(), length, "{rows:?}");
        }
    }
}
