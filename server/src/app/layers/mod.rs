//! Layers: code around the handlers of a [`Router`](crate::Router), of the program's own or one of
//! those that are built in.

pub use crate::app::layer::{
    IntoLayer, IsLayer, Layer, LayerLater, LayerNow, LayersLater, LayersNow, Next, ReplyFuture,
};
