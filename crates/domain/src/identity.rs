//! Who an account is at its provider, and when two accounts are the same.

/// Most bytes of a name from elsewhere that is kept; an e-mail address has at most 254.
pub const NAME_MAX_BYTES: usize = 256;

/// A name from elsewhere that is fit to be kept, compared and shown: trimmed, short, and without letters that [steer](steers) what
/// it is shown in. `None` for what is not, and for what is empty.
pub fn fit_name(text: &str) -> Option<&str> {
    let text = text.trim();
    let fit = !text.is_empty() && text.len() <= NAME_MAX_BYTES && !text.chars().any(steers);
    fit.then_some(text)
}

/// Whether a letter moves the cursor, turns the direction of what follows, or is not seen at all: with it, one name can be made to
/// look like another (Unicode TR 36 §2.5, TR 9 §2).
pub fn steers(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// What is known of the person and workspace behind an account. Empty text counts as absent. Fixed at login.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// The provider's id of the account or workspace.
    pub account_id: Option<String>,
    /// The e-mail address, lower case.
    pub email: Option<String>,
    /// The organisation's id.
    pub org_id: Option<String>,
    /// The organisation's name, for people.
    pub org_name: Option<String>,
    /// The cloud project that requests name.
    pub project_id: Option<String>,
    /// The host of the installation that the account belongs to, where that is not the vendor's public one. No secret is sent
    /// there because it stands here: only the account's origins say where its secret may go.
    pub enterprise_url: Option<String>,
    /// The origin that the provider names for this account's requests, where it names one. It selects among the account's
    /// origins and adds none.
    pub api_endpoint: Option<String>,
}

impl Identity {
    /// Trims all fields, lower-cases the e-mail, and drops what is empty.
    #[must_use]
    pub fn normalized(self) -> Self {
        let Self { account_id, email, org_id, org_name, project_id, enterprise_url, api_endpoint } = self;
        let tidy = |field: Option<String>| field.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        Self {
            account_id: tidy(account_id),
            email: tidy(email).map(|email| email.to_lowercase()),
            org_id: tidy(org_id),
            org_name: tidy(org_name),
            project_id: tidy(project_id),
            enterprise_url: tidy(enterprise_url).map(|host| host.to_lowercase()),
            api_endpoint: tidy(api_endpoint),
        }
    }

    /// Fills the fields that are absent from what another source says.
    #[must_use]
    pub fn completed_by(self, other: Self) -> Self {
        let Self { account_id, email, org_id, org_name, project_id, enterprise_url, api_endpoint } = self;
        Self {
            account_id: account_id.or(other.account_id),
            email: email.or(other.email),
            org_id: org_id.or(other.org_id),
            org_name: org_name.or(other.org_name),
            project_id: project_id.or(other.project_id),
            enterprise_url: enterprise_url.or(other.enterprise_url),
            api_endpoint: api_endpoint.or(other.api_endpoint),
        }
        .normalized()
    }

    /// What tells this account from others of its provider; `None` when nothing does.
    ///
    /// E-mail first, else account, else project; with the organisation where one is known, else the account, since one e-mail
    /// may hold several subscriptions; with the installation, where that is not the vendor's public one, since each has
    /// accounts of its own. The project beside an e-mail and the API's origin tell nothing apart: they may change.
    pub fn key(&self) -> Option<String> {
        let Self { account_id, email, org_id, org_name: _, project_id, enterprise_url, api_endpoint: _ } = self;
        let (base, org) = match (email, account_id) {
            (Some(email), account) => (Some(("email", email)), org_id.as_ref().or(account.as_ref())),
            (None, Some(account)) => (Some(("account", account)), org_id.as_ref().filter(|org| *org != account)),
            (None, None) => (project_id.as_ref().map(|project| ("project", project)), org_id.as_ref()),
        };
        let mut parts: Vec<_> = base.into_iter().chain(org.map(|org| ("org", org))).collect();
        if !parts.is_empty() {
            parts.extend(enterprise_url.as_ref().map(|host| ("at", host)));
        }
        let parts: Vec<String> = parts.into_iter().map(|(name, value)| format!("{name}:{value}")).collect();
        (!parts.is_empty()).then(|| parts.join("|"))
    }

    /// The best short name for people: e-mail, else account, else organisation, else project.
    pub fn display(&self) -> Option<&str> {
        [&self.email, &self.account_id, &self.org_id, &self.project_id].into_iter().find_map(|field| field.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(email: &str, account: &str, org: &str) -> Identity {
        let some = |text: &str| Some(text.to_owned());
        Identity { email: some(email), account_id: some(account), org_id: some(org), ..Identity::default() }.normalized()
    }

    #[test]
    fn the_key_is_email_then_account_then_project_with_the_organisation() {
        let table = [
            (("a@x.example", "w1", "o1"), "email:a@x.example|org:o1"),
            (("a@x.example", "w1", ""), "email:a@x.example|org:w1"),
            (("a@x.example", "", ""), "email:a@x.example"),
            (("", "w1", "o1"), "account:w1|org:o1"),
            (("", "w1", "w1"), "account:w1"),
            (("", "w1", ""), "account:w1"),
            (("", "", "o1"), "org:o1"),
        ];
        for ((email, account, org), key) in table {
            assert_eq!(identity(email, account, org).key().as_deref(), Some(key));
        }
        let project = Identity { project_id: Some("p1".to_owned()), ..Identity::default() };
        assert_eq!(project.key().as_deref(), Some("project:p1"));
        let named = Identity { project_id: Some("p1".to_owned()), ..identity("a@x.example", "", "") };
        assert_eq!(named.key().as_deref(), Some("email:a@x.example"));
    }

    #[test]
    fn one_email_in_two_organisations_is_two_accounts() {
        assert_ne!(identity("a@x.example", "", "o1").key(), identity("a@x.example", "", "o2").key());
        // An organisation whose id the address ends with is one all the same.
        assert_ne!(identity("a@x.example", "", "x.example").key(), identity("a@x.example", "", "").key());
    }

    #[test]
    fn one_name_in_two_installations_is_two_accounts() {
        let at = |host: Option<&str>| Identity { enterprise_url: host.map(str::to_owned), ..identity("", "octo", "") }.normalized().key();
        assert_eq!(at(Some(" Acme.ghe.example ")).as_deref(), Some("account:octo|at:acme.ghe.example"));
        assert_ne!(at(None), at(Some("acme.ghe.example")));
    }

    #[test]
    fn where_requests_go_does_not_make_another_account() {
        let plan = |origin: &str| Identity { api_endpoint: Some(origin.to_owned()), ..identity("", "octo", "") };
        assert_eq!(plan("https://api.one.example").key(), plan("https://api.two.example").key());
    }

    #[test]
    fn letter_case_and_blanks_do_not_make_another_account() {
        assert_eq!(identity(" A@X.example ", "", "").key(), identity("a@x.example", "", "").key());
        assert_eq!(identity("a@x.example", " w1 ", "").key(), identity("a@x.example", "w1", "").key());
    }

    #[test]
    fn without_any_field_there_is_no_key() {
        assert_eq!(identity(" ", "", "").key(), None);
        let place = Identity { enterprise_url: Some("acme.ghe.example".to_owned()), ..Identity::default() };
        assert_eq!(place.key(), None);
    }

    #[test]
    fn a_name_that_can_be_made_to_look_like_another_is_none() {
        assert_eq!(fit_name(" Ada Łovelace, 李 "), Some("Ada Łovelace, 李"));
        let long = "x".repeat(NAME_MAX_BYTES + 1);
        for bad in
            ["", "  ", "a\u{1b}[2J", "a\nb", "ada\u{202e}moc.elpmaxe@", "ada\u{200b}@x.example", "\u{2066}a", "a\u{feff}", long.as_str()]
        {
            assert_eq!(fit_name(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_is_known_is_completed_and_never_replaced() {
        let known = Identity { email: Some("a@x.example".to_owned()), ..Identity::default() };
        let other = Identity { org_name: Some("X".to_owned()), project_id: Some(" p1 ".to_owned()), ..identity("b@x.example", "w1", "") };
        let completed = known.completed_by(other);
        assert_eq!(
            completed,
            Identity { org_name: Some("X".to_owned()), project_id: Some("p1".to_owned()), ..identity("a@x.example", "w1", "") }
        );
    }
}
