//! Against files of the `age` tool, version 1.1.1, and against damage.

use super::*;
use base64::engine::general_purpose::STANDARD;

/// Made for these tests by `age-keygen`; it opens nothing else.
const IDENTITY: &str = "AGE-SECRET-KEY-10RMUC4L365CGCGDS84KVAXHLJKUY4LZF72FJ0T82S65JCTE3878SY0K6XE";
const RECIPIENT: &str = "age1gmq482lzc7ex3gdlp02c6kmfz7x8879k762mxdl77vylk4x03amsyanwjt";

/// `printf canary-kit | age -r RECIPIENT`, in base64.
const TO_RECIPIENT: &str = "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSA0Nm5PY29VaVdOd0QxanQrMkJnTE5wSVVaY3krTUlFU1lOejE4WjI3U2pZ\
    Cjdndkhzb09RdVpTSGlESXplSytkMERwWGp6RENFUFFwcTJhUklORkl1SXMKLS0tIDNka0w5R3ZhdzJCT0VhcmhsbzJSS24zbVRZ\
    MmF2UXE4L3lDSGd1dk9QNVUKxbiny/7I6DkBE6pJ86cELEi8YG4tjp9aJpFRXLqUVras6GyzaVHZjdix";

/// `age -p` with the passphrase `canary-passphrase`, in base64.
const TO_PASSPHRASE: &str = "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCBCaGdFd0ZQQ1pJWE92Znd6VmFyY2tnIDE4CmJ0TkdyMGMxRjVTOE0zaTB5\
    WEowSFVqcm5QZXNCQ2RvOHlkTlhqU3k4dXMKLS0tIERFNEpkc1lmcjh0Q21iaWRaZitzbGpNMVdIQkNnN0srZjNYYkRma0JBMm8K\
    ly+UFeOogRFxJFxwyzBXGpzLjyKk4988MRDKNqYrZM3Bba7A10Prm0D1";

const PLAIN: &[u8] = b"canary-kit";

/// Cheap: the cost of a guess is not what most of these tests are about.
const WORK_FACTOR_CHEAP: u8 = 4;

fn secret(text: &str) -> SecretText {
    SecretText::new(text.to_owned())
}

fn by_passphrase(text: &str) -> Unlock {
    Unlock::Passphrase(secret(text))
}

fn by_identity() -> Unlock {
    Unlock::Identities(vec![Identity::parse(IDENTITY).unwrap()])
}

fn to_passphrase(text: &str) -> Vec<u8> {
    encrypt(PLAIN, &Lock::Passphrase { passphrase: secret(text), work_factor: WORK_FACTOR_CHEAP })
}

#[test]
fn what_the_age_tool_wrote_is_opened() {
    for (file, key) in [(TO_RECIPIENT, by_identity()), (TO_PASSPHRASE, by_passphrase("canary-passphrase"))] {
        assert_eq!(decrypt(&STANDARD.decode(file).unwrap(), &key).unwrap().as_slice(), PLAIN);
    }
}

#[test]
fn what_was_encrypted_opens_with_its_key_alone() {
    let file = encrypt(PLAIN, &Lock::Recipient(Recipient::parse(RECIPIENT).unwrap()));
    assert_eq!(decrypt(&file, &by_identity()).unwrap().as_slice(), PLAIN);
    assert_eq!(decrypt(&file, &by_passphrase("p")).unwrap_err(), AgeError::OtherKind { needs: "an identity" });
    let other = Identity(StaticSecret::from([7; 32]));
    assert_eq!(decrypt(&file, &Unlock::Identities(vec![other])).unwrap_err(), AgeError::WrongKey { with: "the identity" });

    let file = to_passphrase("canary-1");
    assert_eq!(decrypt(&file, &by_passphrase("canary-1")).unwrap().as_slice(), PLAIN);
    assert_eq!(decrypt(&file, &by_passphrase("canary-2")).unwrap_err(), AgeError::WrongKey { with: "the passphrase" });
    assert_eq!(decrypt(&file, &by_identity()).unwrap_err(), AgeError::OtherKind { needs: "a passphrase" });
    assert_ne!(file, to_passphrase("canary-1"), "salt and nonces are drawn anew");
}

#[test]
fn a_flip_of_any_bit_never_gives_a_plaintext() {
    let file = encrypt(PLAIN, &Lock::Recipient(Recipient::parse(RECIPIENT).unwrap()));
    for position in 0..file.len() {
        for bit in 0..8 {
            let mut damaged = file.clone();
            damaged[position] ^= 1 << bit;
            assert!(decrypt(&damaged, &by_identity()).is_err(), "byte {position}, bit {bit}");
        }
    }
    for length in 0..file.len() {
        assert!(decrypt(&file[..length], &by_identity()).is_err(), "{length} bytes");
    }
}

#[test]
fn a_cost_from_a_hostile_file_is_not_paid() {
    let file = String::from_utf8_lossy(&to_passphrase("canary-1")).replacen(" 4\n", " 63\n", 1).into_bytes();
    assert_eq!(decrypt(&file, &by_passphrase("canary-1")).unwrap_err(), AgeError::TooCostly);
}

#[test]
fn a_wrapped_key_of_another_length_is_refused_unopened() {
    let (to_recipient, to_passphrase) = (encrypt(PLAIN, &Lock::Recipient(Recipient::parse(RECIPIENT).unwrap())), to_passphrase("canary-1"));
    for (file, key) in [(to_recipient, by_identity()), (to_passphrase, by_passphrase("canary-1"))] {
        for length in [0, WRAPPED_LEN - 1, WRAPPED_LEN + 1, 2 * WRAPPED_LEN] {
            let mut lines: Vec<Vec<u8>> = file.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            lines[2] = BASE64.encode(vec![7; length]).into_bytes();
            if lines[2].len() == 64 {
                lines[2].push(b'\n');
            }
            assert_eq!(decrypt(&lines.join(&b'\n'), &key).unwrap_err(), AgeError::Damaged, "{length}");
        }
    }
}

#[test]
fn a_work_factor_is_read_as_the_format_writes_it() {
    assert_eq!(["1", "18", "255"].map(decimal), [Some(1), Some(18), Some(255)]);
    for text in ["", "+18", "018", "-1", "256", "1 ", "x"] {
        assert_eq!(decimal(text), None, "{text}");
    }
}

#[test]
fn what_is_no_key_is_no_key() {
    for text in ["", "age1", IDENTITY, &RECIPIENT.replace("age1", "aga1"), RECIPIENT.trim_end_matches('t')] {
        assert!(Recipient::parse(text).is_none(), "{text}");
    }
    for text in ["", RECIPIENT, &IDENTITY.replace("KEY", "KAY")] {
        assert!(Identity::parse(text).is_none(), "{text}");
    }
    let zero = bech32::encode::<Bech32>(RECIPIENT_PREFIX, &[0; 32]).unwrap();
    assert!(Recipient::parse(&zero).is_none(), "a point of low order encrypts to everybody");
    assert_eq!(decrypt(b"-----BEGIN AGE ENCRYPTED FILE-----\n", &by_identity()).unwrap_err(), AgeError::NotAge);
    assert_eq!(format!("{:?}", Identity::parse(IDENTITY).unwrap()), "Identity");
}
