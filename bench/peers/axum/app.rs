//! One axum application, which hyper and ringway serve in turn: extractors, state and JSON as a
//! small service has them.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

/// What `/baseline11` and `/baseline2` are asked for.
#[derive(Deserialize)]
struct Terms {
    a: i64,
    b: i64,
}

#[derive(Clone, Deserialize, Serialize)]
struct User {
    id: u64,
    name: String,
    tags: Vec<String>,
}

/// Answers `/baseline11?a=&b=` and `/baseline2` (the sum, as text), `/task` (the same, by a task of
/// tokio's), `/user/{id}` (JSON), and POST to `/user` (the JSON that came).
pub(crate) fn router() -> Router {
    let tags = ["admin", "reader", "writer"].map(str::to_owned).to_vec();
    let user = Arc::new(User { id: 0, name: "Ada Lovelace".to_owned(), tags });
    Router::new()
        .route("/baseline11", get(sum))
        .route("/baseline2", get(sum))
        .route("/task", get(by_task))
        .route("/user/{id}", get(show))
        .route("/user", post(async |Json(user): Json<User>| Json(user)))
        .with_state(user)
}

async fn sum(Query(Terms { a, b }): Query<Terms>) -> String {
    (a + b).to_string()
}

async fn by_task(Query(Terms { a, b }): Query<Terms>) -> String {
    let sum = tokio::spawn(async move { a + b }).await;
    sum.map_or_else(|error| error.to_string(), |sum| sum.to_string())
}

async fn show(State(user): State<Arc<User>>, Path(id): Path<u64>) -> Json<User> {
    Json(User { id, ..User::clone(&user) })
}
