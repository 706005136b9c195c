//! The built-in layers: code around the handlers of a [`Router`](crate::Router).

mod basic_auth;
mod compress;
mod cors;
mod rate_limit;
mod request_id;
mod timeout;

pub use crate::app::layer::{
    IntoLayer, IsLayer, Layer, LayerLater, LayerNow, LayersLater, LayersNow, Next, ReplyFuture,
};
pub use basic_auth::{BasicAuth, BasicUser};
pub(crate) use basic_auth::{challenge, credentials};
pub use compress::Compress;
pub use cors::Cors;
pub use rate_limit::RateLimit;
pub use request_id::{RequestId, RequestIds};
pub use timeout::Timeout;
