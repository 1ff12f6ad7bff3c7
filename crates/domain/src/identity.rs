//! Who an account is at its provider, and when two accounts are the same.

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
}

impl Identity {
    /// Trims all fields, lower-cases the e-mail, and drops what is empty.
    #[must_use]
    pub fn normalized(self) -> Self {
        let Self { account_id, email, org_id, org_name, project_id } = self;
        let tidy = |field: Option<String>| field.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        Self {
            account_id: tidy(account_id),
            email: tidy(email).map(|email| email.to_lowercase()),
            org_id: tidy(org_id),
            org_name: tidy(org_name),
            project_id: tidy(project_id),
        }
    }

    /// What tells this account from others of its provider; `None` when nothing does.
    ///
    /// E-mail first, else account, else project; with the organisation where one is known, since one e-mail may
    /// hold several subscriptions.
    pub fn key(&self) -> Option<String> {
        let base = None
            .or_else(|| self.email.as_ref().map(|email| format!("email:{email}")))
            .or_else(|| self.account_id.as_ref().map(|id| format!("account:{id}")))
            .or_else(|| self.project_id.as_ref().map(|id| format!("project:{id}")));
        match (base, self.org_id.as_ref().or(self.account_id.as_ref())) {
            (Some(base), Some(org)) if !base.ends_with(org.as_str()) => Some(format!("{base}|org:{org}")),
            (Some(base), _) => Some(base),
            (None, Some(org)) => Some(format!("org:{org}")),
            (None, None) => None,
        }
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
    fn one_email_in_two_organisations_is_two_accounts() {
        assert_ne!(identity("a@x.example", "", "o1").key(), identity("a@x.example", "", "o2").key());
    }

    #[test]
    fn letter_case_and_blanks_do_not_make_another_account() {
        assert_eq!(identity(" A@X.example ", "", "").key(), identity("a@x.example", "", "").key());
    }

    #[test]
    fn without_any_field_there_is_no_key() {
        assert_eq!(identity(" ", "", "").key(), None);
        assert_eq!(identity("", "w1", "").key().as_deref(), Some("account:w1"));
        assert_eq!(identity("", "", "o").key().as_deref(), Some("org:o"));
    }
}
