//! The C peers of the codec benchmarks behind safe functions: nghttp2's HPACK, ls-qpack's Huffman
//! code and QPACK, and picohttpparser. What is not there (see build.rs) is left out.

#![allow(unsafe_code, dead_code, missing_docs, unreachable_pub)]

/// One field as nghttp2 takes and gives it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Pair {
    name: *const u8,
    value: *const u8,
    name_len: usize,
    value_len: usize,
    flags: u8,
}

#[cfg(nghttp2)]
mod ffi {
    use super::Pair;

    #[link(name = "nghttp2")]
    unsafe extern "C" {
        pub(super) fn nghttp2_hd_deflate_new(deflater: *mut *mut u8, table: usize) -> i32;
        pub(super) fn nghttp2_hd_deflate_del(deflater: *mut u8);
        pub(super) fn nghttp2_hd_deflate_hd(
            deflater: *mut u8,
            out: *mut u8,
            len: usize,
            pairs: *const Pair,
            count: usize,
        ) -> isize;
        pub(super) fn nghttp2_hd_deflate_change_table_size(deflater: *mut u8, table: usize) -> i32;
        pub(super) fn nghttp2_hd_inflate_new(inflater: *mut *mut u8) -> i32;
        pub(super) fn nghttp2_hd_inflate_del(inflater: *mut u8);
        pub(super) fn nghttp2_hd_inflate_hd2(
            inflater: *mut u8,
            pair: *mut Pair,
            flags: *mut i32,
            wire: *const u8,
            len: usize,
            last: i32,
        ) -> isize;
        pub(super) fn nghttp2_hd_inflate_end_headers(inflater: *mut u8) -> i32;
    }
}

/// A header list in nghttp2's form.
pub(crate) struct List<'a>(Vec<Pair>, core::marker::PhantomData<&'a [u8]>);

impl<'a> List<'a> {
    pub(crate) fn new(fields: &[(&'a str, &'a str)]) -> Self {
        const NO_COPY: u8 = 2 | 4;
        let pair = |(name, value): &(&'a str, &'a str)| Pair {
            name: name.as_ptr(),
            value: value.as_ptr(),
            name_len: name.len(),
            value_len: value.len(),
            flags: NO_COPY,
        };
        Self(fields.iter().map(pair).collect(), core::marker::PhantomData)
    }
}

#[cfg(nghttp2)]
pub(crate) struct Deflater(*mut u8);

#[cfg(nghttp2)]
impl Deflater {
    pub(crate) fn new(table: usize) -> Self {
        let mut deflater = core::ptr::null_mut();
        // SAFETY: it writes a pointer to what `drop` frees.
        unsafe {
            assert_eq!(ffi::nghttp2_hd_deflate_new(&mut deflater, table), 0);
            assert_eq!(ffi::nghttp2_hd_deflate_change_table_size(deflater, table), 0);
        }
        Self(deflater)
    }

    pub(crate) fn deflate(&mut self, list: &List<'_>, out: &mut [u8]) -> usize {
        let (pairs, count) = (list.0.as_ptr(), list.0.len());
        // SAFETY: the pointers and lengths are of live slices.
        let wrote = unsafe {
            ffi::nghttp2_hd_deflate_hd(self.0, out.as_mut_ptr(), out.len(), pairs, count)
        };
        usize::try_from(wrote).expect("nghttp2 deflates")
    }
}

#[cfg(nghttp2)]
impl Drop for Deflater {
    fn drop(&mut self) {
        // SAFETY: made by `new`.
        unsafe { ffi::nghttp2_hd_deflate_del(self.0) };
    }
}

#[cfg(nghttp2)]
pub(crate) struct Inflater(*mut u8);

#[cfg(nghttp2)]
impl Inflater {
    #[allow(clippy::new_without_default, reason = "as Deflater")]
    pub(crate) fn new() -> Self {
        let mut inflater = core::ptr::null_mut();
        // SAFETY: it writes a pointer to what `drop` frees.
        assert_eq!(unsafe { ffi::nghttp2_hd_inflate_new(&mut inflater) }, 0);
        Self(inflater)
    }

    /// Fields in the block.
    pub(crate) fn inflate(&mut self, mut wire: &[u8]) -> usize {
        const FINAL: i32 = 1;
        const EMIT: i32 = 2;
        let mut fields = 0;
        loop {
            let empty = core::ptr::null();
            let mut pair = Pair { name: empty, value: empty, name_len: 0, value_len: 0, flags: 0 };
            let mut flags = 0;
            let (at, len) = (wire.as_ptr(), wire.len());
            // SAFETY: the pointers are to live values and the length is the slice's.
            let read =
                unsafe { ffi::nghttp2_hd_inflate_hd2(self.0, &mut pair, &mut flags, at, len, 1) };
            wire = &wire[usize::try_from(read).expect("nghttp2 inflates")..];
            fields += usize::from(flags & EMIT != 0);
            if flags & FINAL != 0 {
                // SAFETY: made by `new`.
                unsafe { ffi::nghttp2_hd_inflate_end_headers(self.0) };
                return fields;
            }
        }
    }
}

#[cfg(nghttp2)]
impl Drop for Inflater {
    fn drop(&mut self) {
        // SAFETY: made by `new`.
        unsafe { ffi::nghttp2_hd_inflate_del(self.0) };
    }
}

#[cfg(lsqpack)]
mod lsqpack {
    #[repr(C)]
    pub struct Decoded {
        pub status: i32,
        pub written: u32,
        pub read: u32,
    }

    #[repr(C)]
    pub struct State {
        pub resume: i32,
        pub status: [u8; 2],
    }

    unsafe extern "C" {
        pub fn lsqpack_huff_decode(
            input: *const u8,
            input_len: i32,
            out: *mut u8,
            out_len: i32,
            state: *mut State,
            last: i32,
        ) -> Decoded;
        pub fn lsqpack_enc_enc_str(
            prefix: u32,
            out: *mut u8,
            out_len: usize,
            text: *const u8,
            text_len: u32,
        ) -> i32;

        // lsqpack.c beside this file.
        pub fn ringway_lsqpack_new(capacity: u32) -> *mut u8;
        pub fn ringway_lsqpack_free(ends: *mut u8);
        pub fn ringway_lsqpack_add(ends: *mut u8, text: *const u8, name: usize, value: usize);
        pub fn ringway_lsqpack_encode(ends: *mut u8) -> usize;
        pub fn ringway_lsqpack_instruct(ends: *mut u8);
        pub fn ringway_lsqpack_decode(ends: *mut u8) -> usize;
        pub fn ringway_lsqpack_acknowledge(ends: *mut u8);
    }
}

/// Both ends of one direction of a QPACK connection by ls-qpack, and a list that goes over it.
#[cfg(lsqpack)]
pub struct LsQpack {
    ends: *mut u8,
    /// What the list points to.
    _texts: Vec<String>,
}

#[cfg(lsqpack)]
impl LsQpack {
    /// A connection on which the list has come a few times.
    pub fn new(capacity: u32, list: &[(&str, &str)]) -> Self {
        let texts: Vec<String> =
            list.iter().map(|(name, value)| format!("{name}{value}")).collect();
        // SAFETY: nothing is passed.
        let ends = unsafe { lsqpack::ringway_lsqpack_new(capacity) };
        for (text, (name, value)) in texts.iter().zip(list) {
            // SAFETY: the text is as long as both, and lives as long as the ends.
            unsafe { lsqpack::ringway_lsqpack_add(ends, text.as_ptr(), name.len(), value.len()) };
        }
        let mut pair = Self { ends, _texts: texts };
        for _ in 0..4 {
            // SAFETY: made by `ringway_lsqpack_new`.
            unsafe {
                lsqpack::ringway_lsqpack_encode(ends);
                lsqpack::ringway_lsqpack_instruct(ends);
                assert_eq!(pair.decode(), list.len());
                lsqpack::ringway_lsqpack_acknowledge(ends);
            }
        }
        pair
    }

    /// Encodes the list, and takes the last acknowledgement; the block's length.
    pub fn encode(&mut self) -> usize {
        // SAFETY: made by `new`.
        unsafe {
            let len = lsqpack::ringway_lsqpack_encode(self.ends);
            lsqpack::ringway_lsqpack_acknowledge(self.ends);
            len
        }
    }

    /// Decodes the last block and acknowledges it; fields in it.
    pub fn decode(&mut self) -> usize {
        // SAFETY: made by `new`.
        unsafe { lsqpack::ringway_lsqpack_decode(self.ends) }
    }
}

#[cfg(lsqpack)]
impl Drop for LsQpack {
    fn drop(&mut self) {
        // SAFETY: made by `new`.
        unsafe { lsqpack::ringway_lsqpack_free(self.ends) };
    }
}

/// Octets that ls-qpack decodes `input` to.
#[cfg(lsqpack)]
pub fn lsqpack_decode(input: &[u8], out: &mut [u8]) -> usize {
    let mut state = lsqpack::State { resume: 0, status: [0, 1] };
    // SAFETY: the pointers and lengths are of live slices.
    let decoded = unsafe {
        lsqpack::lsqpack_huff_decode(
            input.as_ptr(),
            input.len() as i32,
            out.as_mut_ptr(),
            out.len() as i32,
            &mut state,
            1,
        )
    };
    assert_eq!(decoded.status, 0);
    decoded.written as usize
}

/// Octets that ls-qpack needs for `text`, its length before it.
#[cfg(lsqpack)]
pub fn lsqpack_encode(text: &[u8], out: &mut [u8]) -> usize {
    let (to, len) = (out.as_mut_ptr(), out.len());
    // SAFETY: the pointers and lengths are of live slices.
    let wrote =
        unsafe { lsqpack::lsqpack_enc_enc_str(7, to, len, text.as_ptr(), text.len() as u32) };
    usize::try_from(wrote).expect("ls-qpack encodes")
}

#[cfg(picohttpparser)]
mod pico {
    use core::ffi::{c_char, c_int};

    /// Two pointers and two lengths.
    pub type Header = [usize; 4];

    unsafe extern "C" {
        pub fn phr_parse_request(
            buf: *const c_char,
            len: usize,
            method: *mut *const c_char,
            method_len: *mut usize,
            path: *mut *const c_char,
            path_len: *mut usize,
            minor_version: *mut c_int,
            headers: *mut Header,
            num_headers: *mut usize,
            last_len: usize,
        ) -> c_int;
    }
}

/// Bytes of the request head that picohttpparser finds at the beginning of `head`; its headers are
/// not initialised.
#[cfg(picohttpparser)]
pub fn pico_parse(head: &[u8]) -> usize {
    use core::{hint::black_box, mem::MaybeUninit, ptr::null};
    let mut headers = [MaybeUninit::<pico::Header>::uninit(); 100];
    let (mut method, mut method_len, mut path, mut path_len) = (null(), 0, null(), 0);
    let (mut minor, mut count) = (0, headers.len());
    // SAFETY: every pointer is to a live local, `count` is the room in `headers`.
    let used = unsafe {
        pico::phr_parse_request(
            head.as_ptr().cast(),
            head.len(),
            &mut method,
            &mut method_len,
            &mut path,
            &mut path_len,
            &mut minor,
            headers.as_mut_ptr().cast(),
            &mut count,
            0,
        )
    };
    black_box((&headers, method, path));
    usize::try_from(used).expect("picohttpparser parses")
}
