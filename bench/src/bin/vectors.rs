//! Decodes files of HPACK and QPACK test vectors, compares, re-encodes and decodes that, for CI or
//! for vectors of your own. `vectors hpack FILE…` takes the JSON stories of hpack-test-case,
//! `vectors qpack QIF ENCODED…` the files of the QPACK offline interop, whose names end in
//! `.TABLE.BLOCKED.ACK`. The last line is `N passed, M failed`; a failure makes the exit code 1.
//! For scripts/check-codecs.py, `hpack-encode FILE` and `qpack-encode QIF TABLE BLOCKED` write our
//! encoders' output for the lists.

use std::io::Write;
use std::process::ExitCode;
use std::{env, fs};

use ringway_codec::field::{Field, Known};
use ringway_codec::scan::Backend;
use ringway_codec::{hpack, qpack};

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;
type Outcome<T> = Result<T, String>;

const LIMITS: hpack::FieldLimits = hpack::FieldLimits { list_bytes: 1 << 24, fields: 10_000 };

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let encoded = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["hpack-encode", file] => Some(hpack_encode(file)),
        ["qpack-encode", qif, capacity, blocked] => Some(qpack_encode(qif, capacity, blocked)),
        _ => None,
    };
    if let Some(encoded) = encoded {
        return match encoded.and_then(|octets| {
            std::io::stdout().write_all(&octets).map_err(|error| error.to_string())
        }) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("vectors: {why}");
                ExitCode::FAILURE
            }
        };
    }
    let results = match arguments.split_first() {
        Some((kind, files)) if kind == "hpack" && !files.is_empty() => hpack_files(files),
        Some((kind, [qif, encoded @ ..])) if kind == "qpack" && !encoded.is_empty() => {
            qpack_files(qif, encoded)
        }
        _ => {
            eprintln!("usage: vectors hpack FILE… | vectors qpack QIF ENCODED…");
            return ExitCode::from(2);
        }
    };
    let mut failed = 0;
    for (name, result) in &results {
        match result {
            Ok(what) => println!("{name}: {what}"),
            Err(why) => {
                println!("{name}: FAILED: {why}");
                failed += 1;
            }
        }
    }
    println!("{} passed, {failed} failed", results.len() - failed);
    ExitCode::from(u8::from(failed > 0))
}

fn pairs(bytes: &[u8], fields: &[Field]) -> Pairs {
    fields.iter().map(|field| (field.name(bytes).to_vec(), field.value(bytes).to_vec())).collect()
}

fn compare(what: &str, found: &Pairs, expected: &Pairs) -> Outcome<()> {
    if found == expected {
        return Ok(());
    }
    let same = found.iter().zip(expected).take_while(|(a, b)| a == b).count();
    let show = |pairs: &Pairs| match pairs.get(same) {
        Some((name, value)) => format!("{}: {}", name.escape_ascii(), value.escape_ascii()),
        None => "nothing".into(),
    };
    Err(format!("{what}, field {same}: {} instead of {}", show(found), show(expected)))
}

fn hpack_files(files: &[String]) -> Vec<(String, Outcome<String>)> {
    files.iter().map(|file| (file.clone(), hpack_story(file))).collect()
}

fn hex(text: &str) -> Outcome<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16).ok_or("a wire that is not hexadecimal");
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Ok((digit(*high)? << 4 | digit(*low)?) as u8),
            _ => Err("half an octet".into()),
        })
        .collect()
}

/// A story: decoded as given, then re-encoded (with the same table sizes) and decoded.
fn hpack_story(file: &str) -> Outcome<String> {
    let text = fs::read(file).map_err(|error| error.to_string())?;
    let story: serde_json::Value =
        serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let cases = story["cases"].as_array().ok_or("no cases")?;
    let mut decoder = hpack::Decoder::new(Backend::detect(), 4096);
    let mut encoder = hpack::Encoder::new(Backend::detect(), 65_535);
    let mut again = hpack::Decoder::new(Backend::detect(), 4096);
    let (mut wires, mut plain, mut own) = (0, 0, 0);
    for (number, case) in cases.iter().enumerate() {
        let expected = headers(case).ok_or_else(|| format!("case {number} has no headers"))?;
        let what = format!("case {number}");
        if let Some(size) = case["header_table_size"].as_u64() {
            let size = u32::try_from(size).ok().filter(|&size| size <= 65_535);
            let size = size.ok_or_else(|| format!("{what}: table size over 65535"))?;
            decoder.set_table_size(size);
            again.set_table_size(size);
            encoder.set_peer_table_size(size);
        }
        if let Some(wire) = case["wire"].as_str().filter(|wire| !wire.is_empty()) {
            let wire = hex(wire)?;
            compare(&what, &hpack_decode(&mut decoder, &wire)?, &expected)?;
            wires += wire.len();
        }
        let mut wire = vec![];
        let mut block = encoder.block(&mut wire);
        for (name, value) in &expected {
            block.field(Known::of(name), name, value);
        }
        let found = hpack_decode(&mut again, &wire).map_err(|why| format!("{what} ours: {why}"))?;
        compare(&format!("{what} encoded by us"), &found, &expected)?;
        plain += expected.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        own += wire.len();
    }
    Ok(format!("{} blocks, {plain} octets in {wires}, by us in {own}", cases.len()))
}

fn headers(case: &serde_json::Value) -> Option<Pairs> {
    let one = |header: &serde_json::Value| {
        let (name, value) = header.as_object()?.iter().next()?;
        Some((name.as_bytes().to_vec(), value.as_str()?.as_bytes().to_vec()))
    };
    case["headers"].as_array()?.iter().map(one).collect()
}

fn hpack_decode(decoder: &mut hpack::Decoder, wire: &[u8]) -> Outcome<Pairs> {
    let (mut bytes, mut fields) = (vec![], vec![]);
    let decoded = decoder.decode(wire, &LIMITS, &mut bytes, &mut fields);
    decoded.map_err(|error| error.to_string())?;
    Ok(pairs(&bytes, &fields))
}

fn qpack_files(qif: &str, encoded: &[String]) -> Vec<(String, Outcome<String>)> {
    let lists = match fs::read(qif) {
        Ok(text) => lists(&text),
        Err(error) => return vec![(qif.into(), Err(error.to_string()))],
    };
    let one = |file: &String| (file.clone(), qpack_file(file, &lists));
    encoded.iter().map(one).collect()
}

fn lists(text: &[u8]) -> Vec<Pairs> {
    let mut lists = vec![vec![]];
    for line in text.split(|&byte| byte == b'\n').filter(|line| !line.starts_with(b"#")) {
        match line.iter().position(|&byte| byte == b'\t') {
            Some(tab) => {
                let pair = (line[..tab].to_vec(), line[tab + 1..].to_vec());
                lists.last_mut().expect("one at least").push(pair);
            }
            None => lists.push(vec![]),
        }
    }
    lists.retain(|list| !list.is_empty());
    lists
}

/// An encoded file: decoded as given, then re-encoded with the same bounds and decoded.
fn qpack_file(file: &str, lists: &[Pairs]) -> Outcome<String> {
    let mut numbers = file.rsplit('.').map(|part| part.parse::<u32>().ok());
    let (Some(acknowledged), Some(blocked), Some(capacity)) =
        (numbers.next().flatten(), numbers.next().flatten(), numbers.next().flatten())
    else {
        return Err("the name does not end in .TABLE.BLOCKED.ACK".into());
    };
    if capacity > 65_535 || blocked > 65_535 {
        return Err("a capacity or a number of streams over 65535".into());
    }
    let input = fs::read(file).map_err(|error| error.to_string())?;
    let mut decoder = new_decoder(capacity, blocked as u16)?;
    let mut found = vec![None; lists.len()];
    let mut waiting: Vec<(u64, &[u8])> = vec![];
    for (stream, octets) in records(&input)? {
        if stream != 0 {
            waiting.push((stream, octets));
        } else {
            decoder.read_encoder_stream(octets).map_err(|error| error.to_string())?;
        }
        waiting = qpack_decode(&mut decoder, waiting, &mut found)?;
        decoder.output(&mut vec![]);
    }
    for (number, (found, expected)) in found.iter().zip(lists).enumerate() {
        let found = found.as_ref().ok_or_else(|| format!("list {number} never came"))?;
        compare(&format!("list {number}"), found, expected)?;
    }
    let own = qpack_again(capacity, blocked as u16, acknowledged != 0, lists)?;
    Ok(format!("{} lists in {} octets, by us in {own}", lists.len(), input.len()))
}

/// A decoder whose peer uses the whole capacity, as these files assume.
fn new_decoder(capacity: u32, blocked: u16) -> Outcome<qpack::Decoder> {
    let mut decoder = qpack::Decoder::new(Backend::detect(), capacity, blocked);
    let (mut announced, mut rest) = (vec![0x20 | capacity.min(31) as u8], capacity);
    if rest >= 31 {
        rest -= 31;
        while rest >= 0x80 {
            announced.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        announced.push(rest as u8);
    }
    decoder.read_encoder_stream(&announced).map_err(|error| error.to_string())?;
    Ok(decoder)
}

fn records(mut input: &[u8]) -> Outcome<Vec<(u64, &[u8])>> {
    let mut records = vec![];
    while let Some((head, rest)) = input.split_first_chunk::<12>() {
        let word = |at: usize| head[at..].iter().take(8).fold(0, |n, &b| n << 8 | u64::from(b));
        let octets = rest.get(..word(8) as usize).ok_or("a record goes on after the end")?;
        records.push((word(0), octets));
        input = &rest[octets.len()..];
    }
    if input.is_empty() { Ok(records) } else { Err("half a record at the end".into()) }
}

/// Decodes the blocks that are ready; returns the blocked ones.
fn qpack_decode<'a>(
    decoder: &mut qpack::Decoder,
    waiting: Vec<(u64, &'a [u8])>,
    found: &mut [Option<Pairs>],
) -> Outcome<Vec<(u64, &'a [u8])>> {
    while decoder.unblocked().is_some() {}
    let mut blocked = vec![];
    for (stream, block) in waiting {
        let (mut bytes, mut fields) = (vec![], vec![]);
        let decoded = decoder
            .decode(stream, block, &LIMITS, &mut bytes, &mut fields)
            .map_err(|error| format!("stream {stream}: {error}"))?;
        match decoded {
            qpack::Decoded::Blocked => blocked.push((stream, block)),
            qpack::Decoded::Section(_) => {
                let place = found.get_mut(stream as usize - 1);
                *place.ok_or_else(|| format!("stream {stream} is of no list"))? =
                    Some(pairs(&bytes, &fields));
            }
        }
    }
    Ok(blocked)
}

/// The size of our encoding in octets. Each block is decoded before its instructions arrive, if the
/// peer allows that.
fn qpack_again(capacity: u32, blocked: u16, acknowledges: bool, lists: &[Pairs]) -> Outcome<usize> {
    let mut encoder = qpack::Encoder::new(Backend::detect(), capacity);
    encoder.set_peer_settings(capacity.into(), blocked.into());
    let mut decoder = qpack::Decoder::new(Backend::detect(), capacity, blocked);
    let mut found = vec![None; lists.len()];
    let (mut octets, mut acknowledgements) = (0, vec![]);
    for (number, list) in lists.iter().enumerate() {
        let (mut out, mut instructions) = (vec![], vec![]);
        let mut block = encoder.block(number as u64 + 1, &mut out, &mut instructions);
        for (name, value) in list {
            block.field(Known::of(name), name, value);
        }
        block.finish();
        octets += out.len() + instructions.len();
        let waiting = qpack_decode(&mut decoder, vec![(number as u64 + 1, &out)], &mut found)?;
        decoder.read_encoder_stream(&instructions).map_err(|error| error.to_string())?;
        qpack_decode(&mut decoder, waiting, &mut found)?;
        if acknowledges {
            acknowledgements.clear();
            decoder.output(&mut acknowledgements);
            let read = encoder.read_decoder_stream(&acknowledgements);
            read.map_err(|error| error.to_string())?;
        }
        let found = found[number].as_ref().ok_or_else(|| format!("list {number} stays blocked"))?;
        compare(&format!("list {number} encoded by us"), found, list)?;
    }
    Ok(octets)
}

/// Our block for each case of a story, one line of hexadecimal digits each.
fn hpack_encode(file: &str) -> Outcome<Vec<u8>> {
    let text = fs::read(file).map_err(|error| error.to_string())?;
    let story: serde_json::Value =
        serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let mut encoder = hpack::Encoder::new(Backend::detect(), 65_535);
    let mut lines = vec![];
    for case in story["cases"].as_array().ok_or("no cases")? {
        if let Some(size) = case["header_table_size"].as_u64() {
            encoder.set_peer_table_size(u32::try_from(size).unwrap_or(u32::MAX));
        }
        let mut wire = vec![];
        let mut block = encoder.block(&mut wire);
        for (name, value) in headers(case).ok_or("a case without headers")? {
            block.field(Known::of(&name), &name, &value);
        }
        wire.iter().for_each(|octet| lines.extend_from_slice(format!("{octet:02x}").as_bytes()));
        lines.push(b'\n');
    }
    Ok(lines)
}

/// Our blocks and encoder stream in the format of the interop files. Nothing is acknowledged.
fn qpack_encode(qif: &str, capacity: &str, blocked: &str) -> Outcome<Vec<u8>> {
    let text = fs::read(qif).map_err(|error| error.to_string())?;
    let capacity: u16 = capacity.parse().map_err(|_| "a capacity that is no number")?;
    let blocked: u64 = blocked.parse().map_err(|_| "a number of streams that is none")?;
    let mut encoder = qpack::Encoder::new(Backend::detect(), capacity.into());
    encoder.set_peer_settings(capacity.into(), blocked);
    let mut output = vec![];
    let mut record = |stream: u64, octets: &[u8]| {
        output.extend_from_slice(&stream.to_be_bytes());
        output.extend_from_slice(&(octets.len() as u32).to_be_bytes());
        output.extend_from_slice(octets);
    };
    for (number, list) in lists(&text).iter().enumerate() {
        let (stream, mut out, mut instructions) = (number as u64 + 1, vec![], vec![]);
        let mut block = encoder.block(stream, &mut out, &mut instructions);
        for (name, value) in list {
            block.field(Known::of(name), name, value);
        }
        block.finish();
        record(stream, &out);
        record(0, &instructions);
    }
    Ok(output)
}
