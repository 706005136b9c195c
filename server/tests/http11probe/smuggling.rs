//! Requests whose end two parties may see at different places.

use super::case::{
    BETTER_REFUSED, Case, REFUSED, Step, case, chunked, get, head, post, sequence, step,
};

/// Whoever goes on after an ambiguous request has to end the connection behind its answer, so what
/// follows must not be answered.
const AMBIGUOUS: &str = "400 close 2xx&end || 2xx";
/// A body that hides a request: one answer, and no second one, which every case is checked for.
const HIDDEN: &str = "400 close any&end";

pub fn cases() -> Vec<Case> {
    [lengths(), codings(), chunks(), others(), poisoned(), hidden(), reused()]
        .into_iter()
        .flatten()
        .collect()
}

fn lengths() -> Vec<Case> {
    let length = |value: &str| post(&format!("Content-Length: {value}"), "hello");
    let zeros = post("Content-Length: 0200", &"A".repeat(200));
    vec![
        case(
            "SMUG-DUPLICATE-CL",
            post("Content-Length: 5\r\nContent-Length: 10", "helloworld"),
            REFUSED,
        ),
        case("SMUG-CL-LEADING-ZEROS", length("005"), BETTER_REFUSED),
        case("SMUG-CL-NEGATIVE", post("Content-Length: -1", ""), REFUSED),
        case("SMUG-CL-TRAILING-SPACE", length("5 "), BETTER_REFUSED),
        case("SMUG-CL-EXTRA-LEADING-SP", length(" 5"), BETTER_REFUSED),
        case("SMUG-CL-COMMA-DIFFERENT", length("5, 10"), REFUSED),
        case("SMUG-CL-OCTAL", length("0o5"), REFUSED),
        case("SMUG-CL-HEX-PREFIX", length("0x5"), REFUSED),
        case("SMUG-CL-INTERNAL-SPACE", post("Content-Length: 1 0", "hello12345"), REFUSED),
        case("SMUG-CL-COMMA-SAME", length("5, 5"), BETTER_REFUSED).unscored(),
        case("SMUG-CL-COMMA-TRIPLE", length("5, 5, 5"), BETTER_REFUSED).unscored(),
        case("SMUG-CL-UNDERSCORE", post("Content-Length: 1_0", "helloworld"), REFUSED),
        case("SMUG-CL-NEGATIVE-ZERO", post("Content-Length: -0", ""), REFUSED),
        case("SMUG-CL-DOUBLE-ZERO", post("Content-Length: 00", ""), BETTER_REFUSED),
        case("SMUG-CL-LEADING-ZEROS-OCTAL", zeros, BETTER_REFUSED),
    ]
}

fn codings() -> Vec<Case> {
    // A length beside each, by which the body is what it looks like.
    let coding =
        |field: &str| post(&format!("Transfer-Encoding:{field}\r\nContent-Length: 5"), "hello");
    let both = "D\r\nhello-bananas\r\n0\r\n\r\n";
    let both = post(&format!("Content-Length: {}\r\nTransfer-Encoding: chunked", both.len()), both);
    let old = head("POST / HTTP/1.0", "Transfer-Encoding: chunked\r\nContent-Length: 5") + "hello";
    let twice = " chunked\r\nTransfer-Encoding: identity";
    vec![
        case("SMUG-CL-TE-BOTH", both, BETTER_REFUSED),
        case("SMUG-TE-XCHUNKED", coding(" xchunked"), "400 501 close"),
        case("SMUG-TE-TRAILING-SPACE", coding(" chunked "), "400 501 close | 2xx&end"),
        case(
            "SMUG-TE-SP-BEFORE-COLON",
            post("Transfer-Encoding : chunked\r\nContent-Length: 5", "hello"),
            REFUSED,
        ),
        case(
            "SMUG-CLTE-PIPELINE",
            post("Content-Length: 4\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
            "400 close any&end | 2xx",
        ),
        case(
            "SMUG-TECL-PIPELINE",
            post("Transfer-Encoding: chunked\r\nContent-Length: 30", "0\r\n\r\n"),
            "400 close any&end | 2xx",
        ),
        case("SMUG-TE-DOUBLE-CHUNKED", coding(" chunked, chunked"), BETTER_REFUSED),
        case("SMUG-TE-CASE-MISMATCH", coding(" Chunked"), BETTER_REFUSED),
        case(
            "SMUG-TE-NOT-FINAL-CHUNKED",
            post("Transfer-Encoding: chunked, gzip", "0\r\n\r\n"),
            REFUSED,
        ),
        case("SMUG-TE-HTTP10", old, REFUSED),
        case("SMUG-TE-EMPTY-VALUE", coding(" "), REFUSED),
        case("SMUG-TE-LEADING-COMMA", coding(" , chunked"), BETTER_REFUSED),
        case("SMUG-TE-DUPLICATE-HEADERS", coding(twice), REFUSED),
        case("SMUG-TE-VTAB", coding(" \x0bchunked"), REFUSED),
        case("SMUG-TE-FORMFEED", coding(" \x0cchunked"), REFUSED),
        case("SMUG-TE-NULL", coding(" chunked\0"), REFUSED),
        case("SMUG-TE-IDENTITY", coding(" identity"), "400 501 close"),
        case("SMUG-TE-OBS-FOLD", coding("\r\n chunked"), "400 close | 2xx&end"),
        case("SMUG-TE-TRAILING-COMMA", coding(" chunked,"), BETTER_REFUSED),
        case("SMUG-TE-TAB-BEFORE-VALUE", coding("\tchunked"), BETTER_REFUSED).unscored(),
        case("SMUG-CHUNKED-WITH-PARAMS", coding(" chunked;ext=val"), BETTER_REFUSED).unscored(),
        case(
            "SMUG-TRANSFER_ENCODING",
            post("Transfer_Encoding: chunked\r\nContent-Length: 5", "hello"),
            BETTER_REFUSED,
        )
        .unscored(),
    ]
}

fn chunks() -> Vec<Case> {
    // A chunk whose size line is this.
    let size = |line: &str| chunked(&format!("{line}hello\r\n0\r\n\r\n"));
    vec![
        case("SMUG-CHUNK-BARE-SEMICOLON", size("5;\r\n"), REFUSED),
        case("SMUG-CHUNK-EXT-INVALID-TOKEN", size("5;bad[=x\r\n"), REFUSED),
        case("SMUG-CHUNK-UNDERSCORE", chunked("1_0\r\nhello world!!!!!\r\n0\r\n\r\n"), REFUSED),
        case("SMUG-CHUNK-HEX-PREFIX", size("0x5\r\n"), REFUSED),
        case("SMUG-CHUNK-SIZE-PLUS", size("+5\r\n"), REFUSED),
        case("SMUG-CHUNK-SIZE-TRAILING-OWS", size("5 \r\n"), REFUSED),
        case("SMUG-CHUNK-LEADING-SP", size(" 5\r\n"), REFUSED),
        case("SMUG-CHUNK-MISSING-TRAILING-CRLF", chunked("5\r\nhello0\r\n\r\n"), REFUSED),
        case("SMUG-CHUNK-EXT-LF", size("5;\n"), BETTER_REFUSED),
        case("SMUG-CHUNK-SPILL", chunked("5\r\nhello!!\r\n0\r\n\r\n"), REFUSED),
        case("SMUG-CHUNK-LF-TERM", chunked("5\r\nhello\n0\r\n\r\n"), BETTER_REFUSED),
        case("SMUG-CHUNK-EXT-CTRL", size("5;\0ext\r\n"), REFUSED),
        case("SMUG-CHUNK-EXT-CR", size("5;a\rX\r\n"), REFUSED),
        case("SMUG-CHUNK-LF-TRAILER", chunked("5\r\nhello\r\n0\r\n\n"), BETTER_REFUSED),
        case("SMUG-CHUNK-NEGATIVE", size("-1\r\n"), REFUSED),
        case("SMUG-CHUNK-BARE-CR-TERM", size("5\r"), REFUSED),
    ]
}

fn others() -> Vec<Case> {
    let trailer = |field: &str| chunked(&format!("5\r\nhello\r\n0\r\n{field}\r\n\r\n"));
    let with_body = |method: &str| head(&format!("{method} / HTTP/1.1"), "Content-Length: 5");
    let cases = vec![
        case("SMUG-EXPECT-100-CL", expecting(), BETTER_REFUSED),
        case("SMUG-TRAILER-CL", trailer("Content-Length: 50"), BETTER_REFUSED),
        case("SMUG-TRAILER-TE", trailer("Transfer-Encoding: chunked"), BETTER_REFUSED),
        case("SMUG-TRAILER-HOST", trailer("Host: evil.example.com"), BETTER_REFUSED),
        case("SMUG-TRAILER-AUTH", trailer("Authorization: Bearer evil"), BETTER_REFUSED),
        case("SMUG-TRAILER-CONTENT-TYPE", trailer("Content-Type: text/evil"), BETTER_REFUSED),
        case("SMUG-HEAD-CL-BODY", with_body("HEAD") + "hello", BETTER_REFUSED),
        case("SMUG-OPTIONS-CL-BODY", with_body("OPTIONS") + "hello", "400 405 close | 2xx"),
        case(
            "SMUG-ABSOLUTE-URI-HOST-MISMATCH",
            head("GET http://other.example.com/ HTTP/1.1", ""),
            BETTER_REFUSED,
        ),
    ];
    let mut cases: Vec<_> = cases.into_iter().map(Case::unscored).collect();
    cases.extend([
        case("SMUG-BARE-CR-HEADER-VALUE", sized("\r\nX-Test: val\rue"), REFUSED),
        case(
            "SMUG-MULTIPLE-HOST-COMMA",
            get("").replacen("8080", "8080, other.example.com", 1),
            REFUSED,
        ),
    ]);
    cases
}

fn sized(more: &str) -> String {
    post(&format!("Content-Length: 5{more}"), "hello")
}

fn expecting() -> String {
    sized("\r\nExpect: 100-continue")
}

/// An ambiguous request with bytes behind it, then an ordinary one, which must not be answered.
fn poisoned() -> Vec<Case> {
    let then_get = |id, fields, body: &str, rule| {
        sequence(id, vec![step(post(fields, body), rule), step(get(""), "")])
    };
    let short = "Content-Length: 5\r\nTransfer-Encoding: chunked";
    let turned = "Transfer-Encoding: chunked\r\nContent-Length: 5";
    let six = "Content-Length: 6\r\nTransfer-Encoding: chunked";
    let thirty = "Transfer-Encoding: chunked\r\nContent-Length: 30";
    let folded =
        head("OPTIONS / HTTP/1.1", "Transfer-Encoding:\r\n chunked\r\nContent-Length: 5") + "hello";
    vec![
        then_get("SMUG-CLTE-CONN-CLOSE", short, "0\r\n\r\n", AMBIGUOUS),
        then_get("SMUG-TECL-CONN-CLOSE", turned, "0\r\n\r\n", AMBIGUOUS),
        then_get("SMUG-CLTE-DESYNC", six, "0\r\n\r\nX", AMBIGUOUS),
        then_get("SMUG-TECL-DESYNC", thirty, "0\r\n\r\nX", AMBIGUOUS),
        then_get(
            "SMUG-CHUNK-INVALID-SIZE-DESYNC",
            "Transfer-Encoding: chunked",
            "+0\r\n\r\nX",
            AMBIGUOUS,
        ),
        sequence(
            "SMUG-OPTIONS-TE-OBS-FOLD",
            vec![step(folded, "400 405 close 2xx&end || 2xx"), step(get(""), "")],
        ),
    ]
}

/// A whole request within what may or may not be the body.
fn hidden() -> Vec<Case> {
    let inner = get("");
    // The fields, of which one is a length that covers all, and the chunk that ends the body.
    let hide = |id, fields: &str, inner: &str| {
        let body = format!("0\r\n\r\n{inner}");
        let fields = fields.replace("LEN", &body.len().to_string());
        case(id, post(&fields, &body), HIDDEN)
    };
    let coding = |id, value: &str| {
        hide(id, &format!("Content-Length: LEN\r\nTransfer-Encoding: {value}"), &inner)
    };
    let length = |id, value: &str| {
        hide(id, &format!("Content-Length: {value}\r\nTransfer-Encoding: chunked"), &inner)
    };
    let folded = "Transfer-Encoding:\r\n chunked\r\nContent-Length: LEN";
    let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\nContent-Length: LEN";
    let ping = format!("PING{inner}");
    let doubled = format!("Content-Length: 4\r\nContent-Length: {}", ping.len());
    vec![
        coding("SMUG-CLTE-SMUGGLED-GET", "chunked"),
        length("SMUG-CLTE-SMUGGLED-GET-CL-PLUS", "+LEN"),
        length("SMUG-CLTE-SMUGGLED-GET-CL-NON-NUMERIC", "LENx"),
        hide("SMUG-CLTE-SMUGGLED-GET-TE-OBS-FOLD", folded, &inner),
        hide(
            "SMUG-CLTE-SMUGGLED-HEAD",
            "Content-Length: LEN\r\nTransfer-Encoding: chunked",
            &head("HEAD / HTTP/1.1", ""),
        ),
        coding("SMUG-CLTE-SMUGGLED-GET-TE-TRAILING-SPACE", "chunked "),
        coding("SMUG-CLTE-SMUGGLED-GET-TE-LEADING-COMMA", ", chunked"),
        coding("SMUG-CLTE-SMUGGLED-GET-TE-CASE-MISMATCH", "Chunked"),
        hide("SMUG-TE-DUPLICATE-HEADERS-SMUGGLED-GET", twice, &inner),
        case("SMUG-TECL-SMUGGLED-GET", behind_a_size(), HIDDEN),
        case("SMUG-DUPLICATE-CL-SMUGGLED-GET", post(&doubled, &ping), HIDDEN),
    ]
}

/// The length covers a chunk's size line only; the chunk is a request that would take what is left
/// of the chunked framing for its body.
fn behind_a_size() -> String {
    let inner = get("Content-Length: 7");
    let size = format!("{:x}\r\n", inner.len());
    let fields = format!("Transfer-Encoding: chunked\r\nContent-Length: {}", size.len());
    post(&fields, &format!("{size}{inner}\r\n0\r\n\r\n"))
}

/// Bodies that a server might leave unread, then what their bytes would spoil.
fn reused() -> Vec<Case> {
    let follow = "2xx | any close";
    let then = |id, first: String, rule, second: Step| {
        sequence(id, vec![step(first, rule), second]).unscored()
    };
    let prefix = get("").trim_end().to_owned() + "\r\n";
    let with_prefix = get(&format!("Content-Length: {}", prefix.len())) + &prefix;
    let options = head("OPTIONS / HTTP/1.1", "Content-Length: 5") + "hello";
    vec![
        then(
            "SMUG-GET-CL-PREFIX-DESYNC",
            with_prefix,
            "400 close 2xx&end | !200 | 2xx",
            step(["\r\n", &get("")].concat(), "2xx 400 | any close"),
        ),
        then(
            "SMUG-CL0-BODY-POISON",
            post("Content-Length: 0", "X"),
            "400 close 2xx&end || 2xx",
            step(get(""), "| any close"),
        ),
        then(
            "SMUG-GET-CL-BODY-DESYNC",
            get("Content-Length: 5") + "hello",
            "400 close 2xx&end || 2xx",
            step(get(""), follow),
        ),
        then(
            "SMUG-OPTIONS-CL-BODY-DESYNC",
            options,
            "400 405 close 2xx&end || 2xx",
            step(get(""), follow),
        ),
        then(
            "SMUG-EXPECT-100-CL-DESYNC",
            expecting(),
            "400 417 close 2xx&end | 1xx 3xx 4xx 5xx | 2xx",
            step(get(""), follow),
        ),
        then("SMUG-PIPELINE-SAFE", get(""), "| 2xx&end | 2xx", step(get(""), follow)),
    ]
}
