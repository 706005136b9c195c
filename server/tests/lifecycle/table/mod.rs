//! The table: what is asked over each protocol, and what the RFCs say of the answer.

mod answers;
mod bodies;
mod heads;

use super::row::Row;

pub fn rows() -> Vec<Row> {
    let mut rows = heads::rows();
    rows.extend(bodies::rows());
    rows.extend(answers::rows());
    rows
}
