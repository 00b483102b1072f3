//! Clocks that are wrong by hours.

use tests::s3::Orders;
use tests::seawall::Machine;

use crate::{assert_told, order, plant, quickly, server};

#[test]
fn a_clock_that_the_server_does_not_accept_is_named_with_both_times() {
    for hours in [5, -5] {
        let server = server();
        let machine = Machine::with_s3(&server);
        machine.done(&["init"]);
        plant(&machine, 1, 1_000);
        order(&server, Orders { clock_ahead_s: hours * 3_600, ..Orders::default() });
        let before = server.counts().requests;
        for words in [&["backup", "tree"][..], &["points"], &["restore", "latest", "--into", "out"]] {
            let said = quickly(&machine, words);
            let says = ["the clock of this machine", "RequestTimeTooSkewed", "timedatectl set-ntp"];
            assert_told(&said, 4, &says);
            let (_, times) = said.err.split_once("this machine says it is ").unwrap();
            let (ours, rest) = times.split_once(", the server ").unwrap();
            let theirs = rest.split_once('Z').unwrap().0.to_owned() + "Z";
            let seconds = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_second();
            let apart = seconds(&theirs) - seconds(ours);
            assert!((apart - hours * 3_600).abs() < 5, "{said}");
        }
        assert_eq!(server.counts().requests - before, 3, "nothing is tried again");
    }
}
