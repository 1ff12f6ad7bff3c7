//! OAuth mechanics after the RFCs, without I/O and without a vendor: what a request looks like, and what its
//! answer means.

mod answer;
mod authorize;
mod body;
mod claims;
mod device;
mod login_answer;
mod pasted;
mod pkce;
mod request;
mod retry_after;
mod token;

pub use answer::{Doubt, Outcome, RawParts, Refusal, read_answer};
pub use authorize::{CodeAttempt, CodeClient, authorize_url, exchange_request};
pub use claims::{JWT_MAX_BYTES, identity_from_claims, plan_from_claims};
pub use device::{
    CODE_LIFE_DEFAULT, CODE_LIFE_MAX, DeviceClient, DeviceCode, INTERVAL_DEFAULT, INTERVAL_MAX, INTERVAL_MIN, PollAnswer, SLOW_DOWN,
    device_request, is_page, is_user_code, poll_request, read_device_code, read_poll,
};
pub use login_answer::{AnswerPaths, LoginAnswer, LoginRefusal, read_login};
pub use pasted::{PASTED_MAX_BYTES, PastedError, Returned, is_issuer, read_callback, read_pasted};
pub use pkce::{LoginState, Pkce, STATE_BYTES, VERIFIER_BYTES};
pub use request::refresh_request;
pub use retry_after::{RETRY_AFTER_MAX, RETRY_AFTER_MIN};
pub use token::{LIFE_MAX, RefreshToken, TokenAnswer};
