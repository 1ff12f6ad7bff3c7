//! Which credentials a request carries, and what the deciding one is worth.

use http::Uri;

use crate::ledger::{CredentialSeen, CredentialSlot, CredentialVerdict};
use crate::state::State;
use crate::token_endpoint::form_field;

/// Every credential in a request, in the order of [`CredentialSlot`].
pub(super) fn credentials(headers: &[(String, String)], uri: &Uri) -> Vec<CredentialSeen> {
    let mut seen = Vec::new();
    let slots = [
        ("authorization", CredentialSlot::Bearer),
        ("x-api-key", CredentialSlot::XApiKey),
        ("x-goog-api-key", CredentialSlot::XGoogApiKey),
        ("api-key", CredentialSlot::ApiKey),
    ];
    for (wanted, slot) in slots {
        for (_, value) in headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted)) {
            let text = match (slot, value.split_once(' ')) {
                (CredentialSlot::Bearer, Some((scheme, token))) if scheme.eq_ignore_ascii_case("bearer") => token,
                (CredentialSlot::Bearer, None) if value.eq_ignore_ascii_case("bearer") => "",
                _ => value,
            };
            seen.push(CredentialSeen { slot, text: text.trim().to_owned() });
        }
    }
    if let Some(text) = uri.query().and_then(|query| form_field(query, "key")) {
        seen.push(CredentialSeen { slot: CredentialSlot::Query, text });
    }
    seen.retain(|credential| !credential.text.is_empty());
    seen
}

/// What a credential is worth: an API key in any slot, an access token as a bearer alone.
pub(super) fn verdict(state: &State, credential: Option<&CredentialSeen>, now_ms: i64) -> CredentialVerdict {
    let Some(credential) = credential else {
        return CredentialVerdict::Missing;
    };
    match state.tokens.api_key_account(&credential.text) {
        Some(account) => CredentialVerdict::ApiKey { account: account.to_owned() },
        None if credential.slot == CredentialSlot::Bearer => state.tokens.access_verdict(&credential.text, now_ms),
        None => CredentialVerdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_seen_and_a_bare_scheme_is_no_credential() {
        let headers = [("X-Api-Key", "k"), ("Authorization", "bearer t"), ("api-key", ""), ("Authorization", "Bearer")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let seen = credentials(&headers, &Uri::from_static("/v1beta/models?alt=sse&key=q%2Fq"));
        let seen: Vec<_> = seen.iter().map(|seen| (seen.slot, seen.text.as_str())).collect();
        let expected = [(CredentialSlot::Bearer, "t"), (CredentialSlot::XApiKey, "k"), (CredentialSlot::Query, "q/q")];
        assert_eq!(seen, expected);
    }
}
