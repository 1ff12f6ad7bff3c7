//! What no provider can have given as a key.

use crate::error::CliError;
use claviger_admin::Exposed;
use claviger_domain::virtual_key;

/// Most bytes of a key: what common servers take in one header line.
const KEY_MAX_BYTES: usize = 8 * 1024;

/// Refuses what no provider can have given; what is wrong is said without the key.
pub fn check(key: &Exposed) -> Result<(), CliError> {
    let key = key.expose();
    let usage = |why: &str| Err(CliError::usage(format!("that is not a key: {why}")));
    if key.is_empty() {
        return Err(CliError::usage("the secret is empty"));
    }
    if key.len() > KEY_MAX_BYTES {
        return usage(&format!("it is longer than {KEY_MAX_BYTES} bytes"));
    }
    if key.chars().any(char::is_whitespace) {
        return usage("it holds white space");
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return usage("it holds letters that a header cannot carry");
    }
    if virtual_key::Presented::read(key).is_some() {
        return usage("it is a virtual key, which Claviger issued itself");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_key_is_refused_without_being_repeated() {
        let (_, ours) = virtual_key::compose(virtual_key::KeyKind::Standing, &[7; virtual_key::RANDOM_BYTES]);
        let long = "canary".repeat(KEY_MAX_BYTES);
        for bad in ["canary a", "canary\ta", "canary\nb", "canary-ä", "canary\u{7f}", ours.expose(), &long] {
            let error = check(&Exposed::new(bad.to_owned())).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(!error.0.message.contains("canary") && !error.0.message.contains("clv_"), "{}", error.0.message);
        }
        assert!(check(&Exposed::new("sk-test-1".to_owned())).is_ok());
    }
}
