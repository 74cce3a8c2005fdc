//! Answers in pieces, and bytes that are none.

use proptest::prelude::*;

use super::*;

const MAX: usize = 64;

/// Feeds pieces of this size and then the end.
fn feed(bytes: &[u8], size: usize) -> (Answer, Result<bool, BadAnswer>) {
    let mut answer = Answer::new(MAX);
    for piece in bytes.chunks(size) {
        match answer.handle_bytes(piece) {
            Ok(false) => {}
            ended => return (answer, ended),
        }
    }
    let whole = answer.handle_end();
    (answer, Ok(whole))
}

/// In one piece, in twos and byte by byte: status, body and whether it is complete.
fn read(text: &str) -> (Option<u16>, String, Result<bool, BadAnswer>) {
    let [one, two, all] = [1, 2, usize::MAX].map(|size| {
        let (answer, ended) = feed(text.as_bytes(), size);
        let status = answer.status();
        (status, String::from_utf8(answer.into_body()).unwrap(), ended)
    });
    if one.2.is_ok() {
        assert_eq!((&one, &two), (&all, &all), "{text:?}");
    }
    all
}

#[test]
fn answers_are_read_to_their_end() {
    for (text, status, body) in [
        ("HTTP/1.0 200 OK\r\n\r\n", 200, ""),
        ("HTTP/1.0 200 OK\r\nServer: x\r\n\r\n{\"a\": 1}", 200, "{\"a\": 1}"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, "abc"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3 \r\nContent-Length:3\r\n\r\nabcdef", 200, "abc"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, ""),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        ("HTTP/1.1 204 No Content\r\n\r\nnone of it", 204, ""),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, ""),
        ("HTTP/1.0 404\r\n\r\nno", 404, "no"),
        ("HTTP/1.0 500 \r\n\r\nno", 500, "no"),
        ("HTTP/1.1 200 OK\nContent-Length: 1\n\na", 200, "a"),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\na", 200, "a"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n",
            200,
            "abcd",
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc", 200, "abc"),
    ] {
        assert_eq!(read(text), (Some(status), body.to_owned(), Ok(true)), "{text:?}");
    }
}

#[test]
fn what_is_cut_off_is_not_complete_but_its_status_counts() {
    for (text, status, body) in [
        ("", None, ""),
        ("HTTP/1.", None, ""),
        ("HTTP/1.0 20", None, ""),
        ("HTTP/1.1 100 Cont", None, ""),
        ("HTTP/1.1 100 Continue\r\n\r\n", None, ""),
        ("HTTP/1.0 200 OK\r\nServ", Some(200), ""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", Some(200), "ab"),
        ("HTTP/1.1 404 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", Some(404), ""),
        ("HTTP/1.1 404 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", Some(404), "abc"),
    ] {
        assert_eq!(read(text), (status, body.to_owned(), Ok(false)), "{text:?}");
    }
    assert!(Answer::new(MAX).is_silent());
    assert!(!feed(b"H", 1).0.is_silent());
}

#[test]
fn what_is_no_answer_says_what_is_wrong() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MAX_HEAD));
    let headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: 1\r\n".repeat(MAX_HEADERS + 1));
    let chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let head = "HTTP/1.1 200 OK\r\nContent-Length: ";
    for (text, wrong) in [
        ("nonsense".to_owned(), "not HTTP"),
        ("HTTP/2.0 200 OK\r\n\r\n".to_owned(), "not HTTP"),
        ("HTTP/1.0 abc\r\n\r\n".to_owned(), "not HTTP"),
        (headers, "not HTTP"),
        (long, "longer than 16384 bytes"),
        (format!("{head}x\r\n\r\n"), "Content-Length makes no sense"),
        (format!("{head}-1\r\n\r\n"), "Content-Length makes no sense"),
        (format!("{head}+1\r\n\r\n"), "Content-Length makes no sense"),
        (format!("{head}\r\n\r\n"), "Content-Length makes no sense"),
        (format!("{head}1\r\nContent-Length: 2\r\n\r\n"), "Content-Length makes no sense"),
        (format!("{head}65\r\n\r\n"), "longer than 64 bytes"),
        (format!("{head}99999999999999999999999\r\n\r\n"), "longer than 64 bytes"),
        (format!("HTTP/1.0 200 OK\r\n\r\n{}", "x".repeat(65)), "longer than 64 bytes"),
        (format!("{chunk}41\r\n"), "longer than 64 bytes"),
        (format!("{chunk}ffffffffffffffff\r\n"), "longer than 64 bytes"),
        (format!("{chunk}1ffffffffffffffff\r\n"), "chunk"),
        (format!("{chunk}x\r\n"), "chunk"),
        (format!("{chunk}1\r\nabc"), "chunk"),
    ] {
        let (_, _, ended) = read(&text);
        let error = ended.unwrap_err().to_string();
        assert!(error.contains(wrong), "{text:?}: {error}");
    }
}

#[test]
fn the_beginning_of_what_it_says_is_kept_for_the_log() {
    let text = |text: &str| feed(text.as_bytes(), 7).0.text();
    assert_eq!(text("HTTP/1.0 404 Not Found\r\n\r\n{\"x\": 1}\n"), "Not Found: {\"x\": 1}");
    assert_eq!(text("HTTP/1.0 404 Not Found\r\n\r\n"), "Not Found");
    assert_eq!(text("HTTP/1.0 404\r\n\r\n\u{fc}"), "\u{fc}");
    assert_eq!(text(&format!("HTTP/1.0 404 {}\r\n\r\n", "y".repeat(500))).len(), MAX_TEXT);
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known: &[&str] = &[
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 4",
        "Content-Length: 5\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: chunked\r\n",
        "\r\n",
        "5\r\nabcde\r\n",
        "ffffffffffffffff\r\n",
        "0\r\n",
    ];
    prop_oneof![
        4 => prop::sample::select(known).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ]
}

proptest! {
    #[test]
    fn no_bytes_do_any_harm(pieces in prop::collection::vec(piece(), 0..12), size in 1..30_usize) {
        let bytes = pieces.concat();
        let (answer, ended) = feed(&bytes, size);
        prop_assert_eq!(answer.is_silent(), bytes.is_empty());
        prop_assert!(answer.text().chars().count() <= MAX_TEXT);
        if ended == Ok(true) {
            prop_assert!(answer.status().is_some());
            prop_assert!(answer.into_body().len() <= MAX);
        }
        // However it is cut, it says the same.
        let (whole, ended_whole) = feed(&bytes, usize::MAX);
        let (bytewise, ended_bytewise) = feed(&bytes, 1);
        if let (Ok(whole_end), Ok(bytewise_end)) = (ended_whole, ended_bytewise) {
            prop_assert_eq!(whole_end, bytewise_end);
            prop_assert_eq!(whole.status(), bytewise.status());
            prop_assert_eq!(whole.into_body(), bytewise.into_body());
        }
    }
}
