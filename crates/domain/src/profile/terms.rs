//! Whom the vendor lets use a login, and how its own client is recognised.

use http::{HeaderMap, HeaderName};

/// What the vendor says of the use of its logins. It does not concern keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TermsRule {
    /// Whether logins serve the vendor's own client alone, unless an account says otherwise.
    pub own_client_only: bool,
    /// What was found, for people.
    pub note: Option<String>,
    /// Marks of the vendor's own client: one of them is enough. Without any, no client is recognised.
    pub own_client: Vec<ClientMark>,
}

/// What a client writes into a header of its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientMark {
    /// The header.
    pub header: HeaderName,
    /// What its value is like.
    pub test: MarkTest,
}

/// What the value of a header is like. Letter case does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MarkTest {
    /// It begins with this, which is in lower case.
    Prefix(String),
    /// It contains this, which is in lower case.
    Contains(String),
}

impl TermsRule {
    /// Whether a request comes from the vendor's own client, as far as its headers say.
    pub fn is_own_client(&self, headers: &HeaderMap) -> bool {
        self.own_client.iter().any(|mark| mark.is_in(headers))
    }
}

impl ClientMark {
    fn is_in(&self, headers: &HeaderMap) -> bool {
        headers.get_all(&self.header).iter().filter_map(|value| value.to_str().ok()).any(|value| {
            let value = value.to_lowercase();
            match &self.test {
                MarkTest::Prefix(prefix) => value.starts_with(prefix),
                MarkTest::Contains(part) => value.contains(part),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::USER_AGENT;

    #[test]
    fn a_client_is_known_by_any_of_its_marks_and_by_nothing_else() {
        let mark = |test| ClientMark { header: USER_AGENT, test };
        let own_client = vec![mark(MarkTest::Prefix("tool/".to_owned())), mark(MarkTest::Contains("(official)".to_owned()))];
        let terms = TermsRule { own_client, ..TermsRule::default() };
        let agent = |text| HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(text))]);
        assert!(terms.is_own_client(&agent("Tool/1.2")));
        assert!(terms.is_own_client(&agent("other/1 (Official)")));
        assert!(!terms.is_own_client(&agent("my-tool/1.2")));
        assert!(!terms.is_own_client(&HeaderMap::new()));
        assert!(!TermsRule::default().is_own_client(&agent("tool/1.2")));
    }
}
