//! Who asks over HTTP, and whether they may: the checks that Kubernetes' aggregation layer expects of
//! an API server behind it.
//!
//! A request comes from the API server itself, which names the user in headers and proves itself by
//! the front proxy's certificate; or from somebody with a certificate of the cluster's client
//! authority; or with a bearer token, which the API server reviews. What the user may is the API
//! server's to say, too. Nothing here knows routes or answers.

mod ask;
mod authorities;
mod certificate;
mod delegated;
mod review;
mod user;

pub use ask::Ask;
pub use authorities::Trust;
pub use certificate::{Authority, AuthorityError, Presented, common_name};
pub use delegated::{AuthCounts, Delegated, Refused};
pub use user::User;
