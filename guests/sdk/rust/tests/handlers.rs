//! The SDK natively, with a host of a few lines in place of the imports.

use std::cell::RefCell;
use std::rc::Rc;

use hexdag::testing::{run, Host};
use hexdag::{Call, Doc, Event, Kind, NodeCall, Outcome, Status};

#[derive(Default)]
struct Fake {
    fields: Vec<(u32, &'static str, Kind, &'static str)>,
    did: Rc<RefCell<Vec<String>>>,
    refuse: Option<&'static str>,
    status: i32,
}

impl Host for Fake {
    fn field(&mut self, doc: u32, path: &str, buf: &mut [u8]) -> i64 {
        if !path.is_empty() && !path.starts_with('/') {
            return -3;
        }
        match self.fields.iter().find(|f| f.0 == doc && f.1 == path) {
            None => 0,
            Some((_, _, kind, text)) => {
                if text.len() <= buf.len() {
                    buf[..text.len()].copy_from_slice(text.as_bytes());
                }
                (*kind as i64) << 32 | text.len() as i64
            }
        }
    }

    fn keys(&mut self, _: u32, path: &str, buf: &mut [u8]) -> i64 {
        let names = b"/a/b~1c/~01/";
        if path != "/input/o" {
            return -1;
        }
        if names.len() <= buf.len() {
            buf[..names.len()].copy_from_slice(names);
        }
        4 << 32 | names.len() as i64
    }

    fn set(&mut self, doc: u32, path: &str, kind: u32, value: &[u8]) -> i32 {
        self.did.borrow_mut().push(format!("set {} {} {} {}", doc, path, kind, String::from_utf8_lossy(value)));
        if self.refuse == Some(path) {
            return -2;
        }
        0
    }

    fn body(&mut self, _: u32, offset: u64, buf: &mut [u8]) -> i64 {
        let rest = &b"0123456789"[(offset as usize).min(10)..];
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        10
    }

    fn call(&mut self, op: &str, body: &[u8]) -> i32 {
        self.did.borrow_mut().push(format!("call {} {}", op, body.len()));
        self.status
    }

    fn clock(&mut self, id: u32) -> i64 {
        if id == 0 {
            42
        } else {
            -2
        }
    }
}

fn fake() -> Fake {
    Fake {
        fields: vec![
            (0, "/input/name", Kind::String, "Ann"),
            (0, "/input/max", Kind::Number, "9223372036854775807"),
            (0, "/input/over", Kind::Number, "9223372036854775808"),
            (0, "/input/half", Kind::Number, "1.5"),
            (0, "/input/t", Kind::Bool, "true"),
            (0, "/input/tags", Kind::Array, r#"["a","b"]"#),
            (0, "/event/subject", Kind::String, "orders.paid"),
            (0, "/event/id", Kind::String, "e-1"),
            (0, "/event/data/n", Kind::Number, "7"),
            (0, "/attempt", Kind::Number, "2"),
            (3, "/code", Kind::String, "busy"),
            (3, "/message", Kind::String, "later"),
            (3, "/retry_ms", Kind::Number, "250"),
        ],
        ..Fake::default()
    }
}

/// Serves a handler on a host, and returns the verdict and what it did.
fn serve(host: Fake, handler: fn(&NodeCall) -> Outcome) -> (u64, Vec<String>) {
    let did = host.did.clone();
    let verdict = run(host, || hexdag::serve(handler));
    let list = did.borrow().clone();
    (verdict, list)
}

#[test]
fn fields() {
    let (verdict, _) = serve(fake(), |c| {
        let d: Doc = c.input();
        assert_eq!(d.text("/name").as_deref(), Some("Ann"));
        assert_eq!(c.payload().at("/input").text("/name").as_deref(), Some("Ann"));
        assert_eq!((d.int("/max"), d.int("/over"), d.int("/half"), d.int("/name")), (Some(i64::MAX), None, None, None));
        assert_eq!((d.float("/half"), d.bool("/t"), d.bool("/name")), (Some(1.5), Some(true), None));
        assert_eq!((d.kind("/no"), d.get("/no")?.kind, d.len("/o"), d.len("/no")), (Kind::Absent, Kind::Absent, 4, 0));
        assert_eq!(d.keys("/o")?, ["a", "b/c", "~1", ""]);
        assert_eq!(d.keys("/no"), Err(Status::NotFound));
        assert_eq!(c.payload().get("bad"), Err(Status::Invalid));
        assert_eq!(hexdag::escape("a/b~"), "a~1b~0");
        let mut buf = [0; 4];
        assert_eq!((d.read_body(8, &mut buf)?, d.read_body(11, &mut buf)?, d.body()?.len()), (2, 0, 10));
        assert_eq!((hexdag::now(), hexdag::elapsed()), (Ok(42), Err(Status::Denied)));
        hexdag::proceed()
    });
    assert_eq!(verdict, 0);
}

#[test]
fn verdicts() {
    assert_eq!(serve(fake(), |_| hexdag::replace()).0, 1);
    assert_eq!(serve(fake(), |_| hexdag::skip()).0, 2);
    assert_eq!(serve(fake(), |_| hexdag::retry_after(u32::MAX)).0, 0xffff_ffff_0000_0004);
    let (verdict, did) = serve(fake(), |_| hexdag::deny("c", "r"));
    assert_eq!((verdict, did), (3, vec!["set 4  0 ".to_string(), "set 4 /code 4 c".to_string(), "set 4 /reason 4 r".to_string()]));
    assert_eq!(serve(fake(), |_| hexdag::fail("c", "r")).0, 5);
}

#[test]
fn a_refused_write_is_an_error() {
    let host = Fake { refuse: Some("/input/name"), ..fake() };
    let (verdict, did) = serve(host, |c| {
        c.input().set_text("/name", "x")?;
        hexdag::replace()
    });
    assert_eq!((verdict, did.last().map(String::as_str)), (5, Some("set 4 /reason 4 the host refused: denied")));
}

#[test]
fn calls() {
    let (verdict, did) = serve(fake(), |_| {
        assert_eq!(Call::new("a.b").text("/t", "orders").int("/n", -1).body(b"xy").send()?.text("/code").as_deref(), Some("busy"));
        hexdag::proceed()
    });
    assert_eq!((verdict, did), (0, vec!["set 2 /t 4 orders".to_string(), "set 2 /n 3 -1".to_string(), "call a.b 2".to_string()]));

    let (verdict, _) = serve(Fake { status: -10, ..fake() }, |_| {
        let failed = Call::new("a.b").send().unwrap_err();
        assert_eq!((failed.status, failed.code.as_str(), failed.to_string().as_str()), (Status::Retry, "busy", "a.b: retry: later"));
        Err(failed.into())
    });
    assert_eq!(verdict, 250 << 32 | 4);

    let (_, did) = serve(Fake { refuse: Some("/b"), ..fake() }, |_| {
        assert_eq!(Call::new("a.b").int("/a", 1).int("/b", 2).send().unwrap_err().status, Status::Denied);
        hexdag::proceed()
    });
    assert_eq!(did.last().map(String::as_str), Some("set 2  0 "));
}

hexdag::node_before!(|c: &NodeCall| if c.node().is_empty() { hexdag::proceed() } else { hexdag::skip() });

#[test]
fn the_export() {
    assert_eq!(run(fake(), || node_before(0)), 0);
}

hexdag::observe!(|e: &Event| {
    assert_eq!((e.topic().as_str(), e.id().as_str(), e.envelope().text("/subject")), ("orders.paid", "e-1", Some(e.topic())));
    assert_eq!((e.data().int("/n"), e.run().int("/usage/llm_calls")), (Some(7), None));
    hexdag::retry_after(e.attempt() as u32)
});

#[test]
fn an_event() {
    assert_eq!(run(fake(), || observe(0)), 2 << 32 | 4);
}

#[cfg(feature = "serde")]
#[test]
fn serde() {
    let (verdict, did) = serve(fake(), |c| {
        assert_eq!(c.input().decode::<Vec<String>>("/tags")?, ["a", "b"]);
        assert_eq!(c.input().decode::<String>("/name")?, "Ann");
        assert_eq!(c.input().decode::<u8>("/max"), Err(Status::Invalid));
        assert_eq!(c.input().decode::<u8>("/no"), Err(Status::NotFound));
        c.result().encode("", &("x", 1, [true]))?;
        hexdag::proceed()
    });
    assert_eq!((verdict, did), (0, vec![r#"set 4  7 ["x",1,[true]]"#.to_string()]));
}
