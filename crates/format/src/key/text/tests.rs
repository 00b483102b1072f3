//! A line survives its text, no change of one letter does, and no kind of line is taken for another.

use proptest::prelude::*;

use super::*;
use crate::key::Bundle;

fn secret() -> KemSecret {
    KemSecret::from_seed(Zeroizing::new([5; 32]))
}

#[test]
fn a_recipients_key_survives_its_text() {
    let read = KemSecret::from_text(&format!("# of the safe\n\n  {}  ", *secret().to_text())).unwrap();
    assert_eq!(**read.seed(), [5; 32]);
    let public = KemPublic::from_text(&secret().public().to_text()).unwrap();
    assert!(public == secret().public() && public.fingerprint() == secret().public().fingerprint());
}

#[test]
fn no_kind_of_line_is_taken_for_another() {
    let key = KeyFile(Zeroizing::new([6; 32])).to_text().to_string();
    let (private, public) = (secret().to_text().to_string(), secret().public().to_text());
    for (text, kind) in [
        (key.as_str(), TextKind::KeyFile),
        (&private, TextKind::Private),
        (&public, TextKind::Public),
        ("seawall-bundle-1 00 00", TextKind::Bundle),
        ("", TextKind::KeyFile),
    ] {
        assert_eq!(TextKind::of(&format!("# a comment\n{text}")), kind);
        assert_eq!(KeyFile::from_text(text).is_ok(), text == key);
        assert_eq!(KemSecret::from_text(text).is_ok(), text == private);
        assert_eq!(KemPublic::from_text(text).is_ok(), text == public);
        assert!(Bundle::from_text(text).is_err());
    }
}

#[test]
fn a_key_of_another_length_is_refused_whatever_its_check_says() {
    for length in [0, 31, 33, 1215, 1217] {
        let bytes = vec![1; length];
        assert!(KemSecret::from_text(&line(PRIVATE, &bytes)).is_err(), "{length}");
        assert!(KemPublic::from_text(&line(PUBLIC, &bytes)).is_err(), "{length}");
    }
}

/// Bytes of the right length whose first numbers are not below the prime of ML-KEM.
#[test]
fn what_is_no_key_of_x_wing_is_refused() {
    let error = KemPublic::from_text(&line(PUBLIC, &[0xff; 1216])).err().unwrap().to_string();
    assert!(error.contains("not a point of X-Wing"), "{error}");
}

proptest! {
    #[test]
    fn any_changed_letter_of_a_public_line_is_noticed(
        at in any::<prop::sample::Index>(),
        letter in proptest::char::range(' ', '~'),
    ) {
        let text = secret().public().to_text();
        let at = at.index(text.trim().len());
        let mut wrong = text.clone();
        wrong.replace_range(at..=at, &letter.to_string());
        prop_assert_eq!(KemPublic::from_text(&wrong).is_ok(), wrong == text);
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "(seawall-(key|private|public|bundle)-0 )?\\PC{0,80}") {
        let _ = TextKind::of(&text);
        prop_assert!(KeyFile::from_text(&text).is_err());
        prop_assert!(KemSecret::from_text(&text).is_err() && KemPublic::from_text(&text).is_err());
    }
}
