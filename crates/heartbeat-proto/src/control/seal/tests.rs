use super::*;
use crate::control::{Datagram, Length, Numbering, REVISION, Signature};

const NOW: u64 = 1_800_000_000_000_000;

fn keyring() -> Keyring {
    Keyring::generate([7; KEY_LEN], [9; KEY_LEN])
}

fn guard(mode: SecurityMode) -> Guard {
    Guard::new(mode, Some(keyring()))
}

fn datagram(recipient: Option<&str>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let plain = Datagram::plain(Signature::GuestMessage, 0x1111_0023, r#"{"source":"10.0.0.1"}"#);
    let numbering = Numbering { revision: REVISION, epoch: 5, number: 1 };
    Datagram { numbering, ..plain }.encode(Length::Fitting, &mut bytes);
    guard(SecurityMode::Required).seal(&mut bytes, NOW, recipient);
    bytes
}

/// Computed with another implementation, Python's hmac.
#[test]
fn the_code_is_hmac_sha_256_over_the_datagram_with_its_place_zeroed() {
    let bytes = datagram(None);
    assert_eq!((bytes[18], bytes[19]), (b'K', 1));
    assert_eq!(bytes[20..28], NOW.to_le_bytes());
    assert_eq!(bytes[44..64], [0; 20]);
    let wanted = [
        0x1f, 0x70, 0x60, 0xd5, 0x6d, 0xa7, 0x31, 0x9c, 0x7b, 0x5f, 0xb1, 0xef, 0x30, 0x7e, 0xfa,
        0x39,
    ];
    assert_eq!(bytes[28..44], wanted);
}

#[test]
fn what_was_sealed_is_taken_with_either_key_and_reads_the_same() {
    let bytes = datagram(Some("compute-0"));
    for mode in [SecurityMode::Permissive, SecurityMode::Required] {
        assert_eq!(guard(mode).check(&bytes, NOW, "compute-0"), Ok(true));
    }
    // One end has swapped its keys and the other has not yet: each knows both.
    let swapped = Guard::new(SecurityMode::Required, Some(keyring().swap()));
    assert_eq!(swapped.check(&bytes, NOW, "compute-0"), Ok(true));
    let mut next = bytes.clone();
    swapped.seal(&mut next, NOW, None);
    assert_eq!(next[19], 2);
    assert_eq!(guard(SecurityMode::Required).check(&next, NOW, "compute-0"), Ok(true));
    // One has a new key besides and the other has not yet: both seal with the one that both know.
    let renewed = keyring().swap().renew([3; KEY_LEN]);
    let renewed = Guard::new(SecurityMode::Required, Some(renewed));
    assert_eq!(renewed.check(&next, NOW, "compute-0"), Ok(true));
    assert_eq!(renewed.check(&bytes, NOW, "compute-0"), Err(SealError::UnknownKey(1)));
    assert_eq!(Datagram::decode(&bytes).unwrap().text, r#"{"source":"10.0.0.1"}"#);
}

#[test]
fn every_altered_byte_is_noticed() {
    let bytes = datagram(Some("compute-0"));
    let guard = guard(SecurityMode::Required);
    for at in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        let error = guard.check(&altered, NOW, "compute-0").unwrap_err();
        match at {
            18 => assert_eq!(error, SealError::Unsealed),
            19 => assert_eq!(error, SealError::UnknownKey(0)),
            _ => assert_eq!(error, SealError::Forged, "byte {at}"),
        }
    }
    assert_eq!(guard.check(&bytes[..bytes.len() - 1], NOW, "compute-0"), Err(SealError::Forged));
}

#[test]
fn what_is_late_early_or_for_another_is_not_taken() {
    let bytes = datagram(Some("compute-0"));
    let guard = guard(SecurityMode::Required);
    for now in [NOW - MAX_SKEW_MICROS, NOW + MAX_SKEW_MICROS] {
        assert_eq!(guard.check(&bytes, now, "compute-0"), Ok(true));
    }
    for now in [NOW - 31_000_000, NOW + 31_000_000] {
        assert_eq!(guard.check(&bytes, now, "compute-0"), Err(SealError::Late(31)));
    }
    assert_eq!(guard.check(&bytes, NOW, "compute-1"), Err(SealError::OtherRecipient));
    assert_eq!(guard.check(&datagram(None), NOW, "compute-1"), Ok(true), "for whoever has the key");
}

#[test]
fn without_a_seal_it_depends_on_the_mode() {
    let mut bytes = datagram(None);
    bytes[18..64].fill(0);
    assert_eq!(guard(SecurityMode::Off).check(&bytes, NOW, "me"), Ok(false));
    assert_eq!(guard(SecurityMode::Permissive).check(&bytes, NOW, "me"), Ok(false));
    assert_eq!(guard(SecurityMode::Required).check(&bytes, NOW, "me"), Err(SealError::Unsealed));
    let mut untouched = bytes.clone();
    guard(SecurityMode::Off).seal(&mut untouched, NOW, None);
    Guard::new(SecurityMode::Required, None).seal(&mut untouched, NOW, None);
    assert_eq!(untouched, bytes);
}

#[test]
fn a_key_file_reads_back_and_errors_say_where_and_what() {
    let keyring = keyring();
    assert_eq!(Keyring::parse(&keyring.text()), Ok(keyring.clone()));
    assert_eq!(keyring.ids(), [1, 2]);
    assert_eq!(keyring.swap().ids(), [2, 1]);
    assert_eq!(keyring.swap().renew([1; KEY_LEN]).ids(), [2, 3]);
    let ids = |current, next| {
        let key = "ab".repeat(KEY_LEN);
        let text = format!("current {current} {key}\nnext {next} {key}");
        Keyring::parse(&text).unwrap().renew([1; KEY_LEN]).ids()
    };
    assert_eq!((ids(255, 254), ids(0, 255)), ([255, 0], [0, 1]));
    let key = "ab".repeat(KEY_LEN);
    let errors = [
        (format!("current 1 {key}"), "no next key"),
        (format!("next 1 {key}"), "no current key"),
        (format!("current 1 {key}\nnext 1 {key}"), "both keys have the id 1"),
        (format!("# keys\ncurrent 1 {key}\ncurrent 2 {key}"), "line 3: there is a current key"),
        (format!("current 256 {key}"), "line 1: expected 'current ID KEY'"),
        (format!("current 1 {key}0"), "line 1: expected"),
        (format!("former 1 {key}"), "line 1: expected"),
        (format!("current 1 {key} x"), "line 1: expected"),
        (format!("current 1 {}", "é".repeat(KEY_LEN)), "line 1: expected"),
    ];
    for (text, wanted) in errors {
        let error = Keyring::parse(&text).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
        assert!(!error.contains(&key), "{error}");
    }
    assert!(!format!("{keyring:?}").contains('7'), "{keyring:?}");
}
