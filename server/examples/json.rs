//! A JSON service that creates, reads, changes and deletes books.
//!
//! `cargo run --release --example json`, then
//! `curl -i --json '{"title": "Ulysses", "pages": 730}' http://127.0.0.1:8080/books`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderValue, StatusCode, header};
use ringway::{Problem, Rejection, Request, Response, Router, Server};
use serde::{Deserialize, Serialize};

fn main() -> Result<(), ringway::Error> {
    // The address may be given: `-- 127.0.0.1:0` takes a free port and prints it.
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    Server::new(app()).http(address).run()
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Book {
    title: String,
    pages: u32,
}

#[derive(Deserialize)]
struct Filter {
    /// Only titles that contain this text.
    #[serde(default)]
    title: String,
    limit: Option<usize>,
}

/// The books by number, shared by all workers.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<BTreeMap<u32, Book>>>);

impl Shelf {
    fn books(&self) -> MutexGuard<'_, BTreeMap<u32, Book>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self, request: &Request) -> Result<Response, Rejection> {
        let filter: Filter = request.query()?;
        let books = self.books();
        let found = books.iter().filter(|(_, book)| book.title.contains(&filter.title));
        let found: BTreeMap<_, _> = found.take(filter.limit.unwrap_or(100)).collect();
        Ok(Response::json(&found))
    }

    fn add(&self, request: &Request) -> Result<Response, Rejection> {
        let book: Book = request.json()?;
        let mut books = self.books();
        let id = books.keys().last().map_or(1, |last| last + 1);
        let response = Response::json(&book).status(StatusCode::CREATED);
        books.insert(id, book);
        let location = HeaderValue::try_from(format!("/books/{id}"));
        Ok(match location {
            Ok(location) => response.header(header::LOCATION, location),
            Err(_) => response,
        })
    }

    fn read(&self, request: &Request) -> Result<Response, Problem> {
        let id: u32 = request.params()?;
        self.books().get(&id).map(Response::json).ok_or_else(|| missing(id))
    }

    fn change(&self, request: &Request) -> Result<Response, Problem> {
        let (id, changed): (u32, Book) = (request.params()?, request.json()?);
        let mut books = self.books();
        let book = books.get_mut(&id).ok_or_else(|| missing(id))?;
        *book = changed;
        Ok(Response::json(book))
    }

    fn remove(&self, request: &Request) -> Result<StatusCode, Problem> {
        let id: u32 = request.params()?;
        self.books().remove(&id).map(|_| StatusCode::NO_CONTENT).ok_or_else(|| missing(id))
    }
}

fn missing(id: u32) -> Problem {
    Problem::new(StatusCode::NOT_FOUND).detail(format!("there is no book {id}"))
}

fn app() -> Router {
    // Each closure has its own clone of the `Arc`.
    let shelf = Shelf::default();
    let with = |handle: fn(&Shelf, &Request) -> Result<Response, Rejection>| {
        let shelf = shelf.clone();
        move |request: &Request| handle(&shelf, request)
    };
    let (list, add) = (with(Shelf::list), with(Shelf::add));
    let (reads, changes, removes) = (shelf.clone(), shelf.clone(), shelf.clone());
    Router::new()
        .get("/books", list)
        .post("/books", add)
        .get("/books/{id}", move |request: &Request| reads.read(request))
        .put("/books/{id}", move |request: &Request| changes.change(request))
        .delete("/books/{id}", move |request: &Request| removes.remove(request))
}
