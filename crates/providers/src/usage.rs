//! Usage as providers tell it: endpoint answers and response headers, read into limits.

use claviger_domain::profile::ProviderProfile;
use claviger_domain::time::Timestamp;
use claviger_domain::usage::UsageReport;
use http::{HeaderMap, StatusCode};

/// What the headers of an ordinary answer say; `None` where they say nothing. Cheap where the provider has no such headers.
pub fn from_headers(profile: &ProviderProfile, status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Option<UsageReport> {
    let _unused = (profile, status, headers, now);
    None
}
