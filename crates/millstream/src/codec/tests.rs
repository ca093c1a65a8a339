use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Codec, CodecError, Encoded, Json, Kind, MessagePack, NoKey, Nullable, Raw, Text};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Call {
    id: u32,
    seconds: f64,
    note: Option<String>,
}

fn call() -> Call {
    Call {
        id: 7,
        seconds: 1.5,
        note: None,
    }
}

fn encoded<T>(codec: &dyn Codec<T>, value: &T) -> Vec<u8> {
    let mut out = b"before".to_vec();
    assert_eq!(codec.encode(value, &mut out), Ok(Encoded::Bytes));
    out.split_off(6)
}

/// What a refusal says: kind, byte, text.
fn refusal<T: std::fmt::Debug>(
    codec: &dyn Codec<T>,
    bytes: &[u8],
) -> (Kind, Option<usize>, String) {
    let error = codec.decode(Some(bytes)).unwrap_err();
    (error.kind(), error.byte(), error.to_string())
}

#[test]
fn each_codec_reads_what_it_wrote() {
    assert_eq!(Json.decode(Some(&encoded(&Json, &call()))), Ok(call()));
    assert_eq!(
        MessagePack.decode(Some(&encoded(&MessagePack, &call()))),
        Ok(call())
    );
    let bytes = vec![0, 255, 10];
    assert_eq!(Raw.decode(Some(&encoded(&Raw, &bytes))), Ok(bytes));
    let text = "nul \0 and \u{1f600}".to_owned();
    assert_eq!(Text.decode(Some(&encoded(&Text, &text))), Ok(text));
    let some = Some(3_u8);
    assert_eq!(
        Nullable(Json).decode(Some(&encoded(&Nullable(Json), &some))),
        Ok(some)
    );
}

#[test]
fn encoding_appends_and_keeps_what_was_there() {
    let mut out = b"key".to_vec();
    assert_eq!(Json.encode(&call(), &mut out), Ok(Encoded::Bytes));
    assert_eq!(out, br#"key{"id":7,"seconds":1.5,"note":null}"#);
}

#[test]
fn messagepack_writes_field_names_so_that_fields_may_be_added() {
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Older {
        id: u32,
    }
    let bytes = encoded(&MessagePack, &call());
    assert_eq!(MessagePack.decode(Some(&bytes)), Ok(Older { id: 7 }));
}

#[test]
fn null_is_a_value_only_for_nullable_and_no_key() {
    let null = |codec| CodecError::null(codec);
    assert_eq!(Codec::<Call>::decode(&Json, None), Err(null("json")));
    assert_eq!(
        Codec::<Call>::decode(&MessagePack, None),
        Err(null("messagepack"))
    );
    assert_eq!(Raw.decode(None), Err(null("raw")));
    assert_eq!(Text.decode(None), Err(null("text")));
    assert_eq!(
        null("text").to_string(),
        "failed to decode text: null where a value is needed"
    );
    assert_eq!(NoKey.decode(None), Ok(()));
    assert_eq!(NoKey.decode(Some(b"any")), Ok(()));
    assert_eq!(Codec::<Option<u8>>::decode(&Nullable(Json), None), Ok(None));
    let mut out = Vec::new();
    assert_eq!(
        Nullable(Json).encode(&None::<u8>, &mut out),
        Ok(Encoded::Null)
    );
    assert_eq!(NoKey.encode(&(), &mut out), Ok(Encoded::Null));
    assert_eq!(out, b"");
}

#[test]
fn empty_is_not_null() {
    assert_eq!(Raw.decode(Some(b"")), Ok(vec![]));
    assert_eq!(Text.decode(Some(b"")), Ok(String::new()));
    let text = "failed to decode json at line 1 column 1: EOF while parsing a value";
    assert_eq!(
        refusal::<Call>(&Json, b""),
        (Kind::Truncated, Some(0), text.to_owned())
    );
    let text = "failed to decode messagepack at byte 0: the bytes end before the value does";
    assert_eq!(
        refusal::<Call>(&MessagePack, b""),
        (Kind::Truncated, Some(0), text.to_owned())
    );
}

#[test]
fn json_refusals_name_kind_and_place() {
    let cases: [(&[u8], Kind, usize, &str); 8] = [
        (
            b"{\"id\":1,",
            Kind::Truncated,
            7,
            "line 1 column 8: EOF while parsing a value",
        ),
        (
            b"{\n \"id\":x}",
            Kind::Syntax,
            8,
            "line 2 column 7: expected value",
        ),
        (
            br#"{"id":"1"}"#,
            Kind::Type,
            8,
            "line 1 column 9: invalid type: string \"1\", expected u32",
        ),
        (
            br#"{"id":-1}"#,
            Kind::Type,
            7,
            "line 1 column 8: invalid value: integer `-1`, expected u32",
        ),
        (
            br#"{"seconds":1e999}"#,
            Kind::OutOfRange,
            15,
            "line 1 column 16: number out of range",
        ),
        (
            br#"{"seconds":NaN}"#,
            Kind::Syntax,
            11,
            "line 1 column 12: expected value",
        ),
        (
            b"{\"note\":\"\xff\"}",
            Kind::NotUtf8,
            9,
            "line 1 column 10: invalid unicode code point",
        ),
        (
            b"{\"note\":\"a\0b\"}",
            Kind::Syntax,
            10,
            "line 1 column 11: control character (\\u0000-\\u001F) found while parsing a string",
        ),
    ];
    for (bytes, kind, byte, text) in cases {
        assert_eq!(
            refusal::<Call>(&Json, bytes),
            (kind, Some(byte), format!("failed to decode json at {text}"))
        );
    }
}

#[test]
fn json_refuses_what_follows_the_value() {
    let text = "failed to decode json at line 1 column 36: trailing characters";
    assert_eq!(
        refusal::<Call>(&Json, br#"{"id":7,"seconds":1.5,"note":null} x"#),
        (Kind::Trailing, Some(35), text.to_owned())
    );
}

#[test]
fn ten_thousand_levels_are_refused_on_a_small_stack() {
    let on_small_stack = std::thread::Builder::new().stack_size(1 << 20).spawn(|| {
        let deep = [b"[".repeat(10_000), b"]".repeat(10_000)].concat();
        let json = refusal::<serde_json::Value>(&Json, &deep);
        let ignored = refusal::<Call>(&Json, &[br#"{"unknown":"#, deep.as_slice(), b"}"].concat());
        let packed = refusal::<serde_json::Value>(&MessagePack, &[0x91].repeat(10_000));
        (json, ignored, packed)
    });
    let (json, ignored, packed) = on_small_stack.unwrap().join().unwrap();
    let text = "failed to decode json at line 1 column 128: recursion limit exceeded";
    assert_eq!(json, (Kind::TooDeep, Some(127), text.to_owned()));
    // An unknown field is skipped without recursion: its depth does no harm, the rest is still checked.
    assert_eq!(ignored.0, Kind::Type);
    let text = "failed to decode messagepack at byte 128: depth limit exceeded";
    assert_eq!(packed, (Kind::TooDeep, Some(128), text.to_owned()));
}

#[test]
fn a_megabyte_in_one_line_passes_and_its_refusal_is_short() {
    let long = "x".repeat(1 << 20);
    assert_eq!(Json.decode(Some(&encoded(&Json, &long))), Ok(long.clone()));
    assert_eq!(
        MessagePack.decode(Some(&encoded(&MessagePack, &long))),
        Ok(long.clone())
    );
    let (kind, byte, text) = refusal::<u64>(&Json, format!("\"{long}\"").as_bytes());
    assert_eq!(
        (kind, byte, text.len()),
        (Kind::Type, Some((1 << 20) + 1), 210)
    );
}

#[test]
fn json_refuses_to_write_numbers_that_are_not_finite() {
    let refused = CodecError::encode("json", Kind::OutOfRange, "a number is not finite");
    assert_eq!(
        refused.to_string(),
        "failed to encode json: a number is not finite"
    );
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut out = b"kept".to_vec();
        assert_eq!(
            Json.encode(
                &Call {
                    seconds: bad,
                    ..call()
                },
                &mut out
            ),
            Err(refused.clone())
        );
        assert_eq!(
            Json.encode(&vec![Some((1_u8, bad as f32))], &mut out),
            Err(refused.clone())
        );
        assert_eq!(
            Json.encode(&BTreeMap::from([("a".to_owned(), bad)]), &mut out),
            Err(refused.clone())
        );
        assert_eq!(out, b"kept");
    }
    assert_eq!(encoded(&Json, &vec![None, Some(1.0)]), b"[null,1.0]");
}

#[test]
fn json_refuses_map_keys_that_are_not_text() {
    let mut out = b"kept".to_vec();
    let error = Json
        .encode(&BTreeMap::from([(vec![1_u8], 1_u8)]), &mut out)
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string()),
        (
            Kind::Type,
            "failed to encode json: key must be a string".to_owned()
        )
    );
    assert_eq!(out, b"kept");
}

#[test]
fn messagepack_carries_numbers_that_are_not_finite() {
    let back: f64 = MessagePack
        .decode(Some(&encoded(&MessagePack, &f64::NAN)))
        .unwrap();
    assert_eq!(back.to_bits(), f64::NAN.to_bits());
    let back: f64 = MessagePack
        .decode(Some(&encoded(&MessagePack, &f64::INFINITY)))
        .unwrap();
    assert_eq!(back, f64::INFINITY);
}

#[test]
fn messagepack_refusals_name_kind_and_place() {
    let good = encoded(&MessagePack, &call());
    let cut = &good[..good.len() - 1];
    let text = format!(
        "failed to decode messagepack at byte {}: the bytes end before the value does",
        cut.len()
    );
    assert_eq!(
        refusal::<Call>(&MessagePack, cut),
        (Kind::Truncated, Some(cut.len()), text)
    );
    let more = [good.as_slice(), b"x"].concat();
    let text = format!(
        "failed to decode messagepack at byte {}: 1 bytes are left over after the value",
        good.len()
    );
    assert_eq!(
        refusal::<Call>(&MessagePack, &more),
        (Kind::Trailing, Some(good.len()), text)
    );
    let (kind, byte, _) = refusal::<String>(&MessagePack, b"\xa2\xff\xfe");
    assert_eq!((kind, byte), (Kind::NotUtf8, Some(3)));
    let (kind, byte, _) = refusal::<u8>(&MessagePack, b"\xcd\x01\x00");
    assert_eq!((kind, byte), (Kind::Type, Some(3)));
    // A string that claims 4 GiB costs no memory.
    let (kind, byte, _) = refusal::<String>(&MessagePack, b"\xdb\xff\xff\xff\xffab");
    assert_eq!((kind, byte), (Kind::Truncated, Some(7)));
}

#[test]
fn text_names_the_first_byte_that_is_not_utf8() {
    let text = "failed to decode text at byte 2: invalid utf-8".to_owned();
    assert_eq!(
        refusal(&Text, b"ok\xff\xff"),
        (Kind::NotUtf8, Some(2), text)
    );
}
