//! The probe of the conformance kit, made with the Rust SDK: see abi/tck/README.md.

use std::sync::atomic::{AtomicU32, Ordering};

use hexdag::{Call, Doc, Event, Kind, Level, NodeCall, OperationCall, Outcome, PortCall, Status, ToolCall};

hexdag::node_before!(|c: &NodeCall| play(c.payload(), c.result()));
hexdag::node_after!(|c: &NodeCall| play(c.payload(), c.result()));
hexdag::node_run!(|c: &NodeCall| play(c.payload(), c.result()));
hexdag::port_before!(|c: &PortCall| play(c.payload(), c.result()));
hexdag::port_after!(|c: &PortCall| play(c.payload(), c.result()));
hexdag::tool_call!(|c: &ToolCall| play(c.payload(), c.result()));
hexdag::port_call!(|c: &OperationCall| play(c.payload(), c.result()));
hexdag::observe!(|e: &Event| play(e.payload(), ToolCall::default().result()));

static REMEMBERED: AtomicU32 = AtomicU32::new(0);

/// A call under way: its documents, and the step with the field that it names.
struct Probe<'a> {
    input: &'a Doc,
    output: &'a Doc,
    step: Doc,
    doc: Doc,
    at: String,
}

/// Does the steps of the configuration, or else of the arguments.
fn play(input: Doc, output: Doc) -> Outcome {
    let mut steps = hexdag::config().at("/steps");
    if steps.kind("") == Kind::Absent {
        steps = input.at("/args/steps");
    }
    for i in 0..steps.len("") {
        let step = steps.at(&format!("/{}", i));
        let doc = match step.text("/doc").as_deref() {
            Some("config") => hexdag::config(),
            Some("reply") => hexdag::reply(),
            Some("output") => output.clone(),
            _ => input.clone(),
        };
        let at = step.text("/at").unwrap_or_default();
        let p = Probe { input: &input, output: &output, step, doc, at };
        if let Some(outcome) = p.decide() {
            return outcome;
        }
        if let Some(line) = p.act() {
            hexdag::debug(&line);
        }
    }
    hexdag::proceed()
}

impl Probe<'_> {
    fn text(&self, name: &str) -> String {
        self.step.text(name).unwrap_or_default()
    }

    fn number(&self, name: &str) -> i64 {
        self.step.int(name).unwrap_or(0)
    }

    /// The outcome where the step is one.
    fn decide(&self) -> Option<Outcome> {
        Some(match self.text("/do").as_str() {
            "continue" => hexdag::proceed(),
            "replace" => hexdag::replace(),
            "skip" => hexdag::skip(),
            "deny" => hexdag::deny(&self.text("/code"), &self.text("/reason")),
            "fail" => hexdag::fail(&self.text("/code"), &self.text("/reason")),
            "retry" => hexdag::retry_after(self.number("/ms") as u32),
            _ => return None,
        })
    }

    /// Does the step, and returns the line to log.
    fn act(&self) -> Option<String> {
        let (doc, at) = (&self.doc, self.at.as_str());
        Some(match self.text("/do").as_str() {
            "get" => said(doc.get(at).map(|v| match v.kind {
                Kind::Absent => "absent".to_string(),
                kind => format!("{} {}", name_of(kind), v.text),
            })),
            "sum" => said(doc.get(at).map(|v| format!("{} {}", name_of(v.kind), sum(v.text.as_bytes())))),
            "kind" => format!("kind {}", name_of(doc.kind(at))),
            "text" => format!("text {}", or_none(doc.text(at))),
            "int" => format!("int {}", or_none(doc.int(at))),
            "bool" => format!("bool {}", or_none(doc.bool(at))),
            "keys" => said(doc.keys(at).map(|k| format!("keys {} {}", k.len(), k.join(",")))),
            "keysum" => said(doc.keys(at).map(|k| format!("keys {} {}", k.len(), sum(k.join(",").as_bytes())))),
            "count" => format!("count {}", doc.len(at)),
            "set" => done(write(doc, at, &self.text("/kind"), self.text("/value").as_bytes())),
            "setraw" => done(self.input.body().and_then(|b| write(doc, at, &self.text("/kind"), &b))),
            "setint" => done(doc.set_int(at, self.number("/value"))),
            "remove" => done(doc.remove(at)),
            "append" => done(self.output.append_body(self.text("/value").as_bytes())),
            "copybody" => done(doc.body().and_then(|b| self.output.append_body(&b))),
            "body" => said(self.body()),
            "bodyat" => said(self.body_at()),
            "call" => self.call(),
            "log" => {
                let level = [Level::Debug, Level::Info, Level::Warn, Level::Error][self.number("/level") as usize];
                hexdag::log(level, &self.text("/text"));
                return None;
            }
            "now" => said(hexdag::now().map(|ns| format!("now {}", ns))),
            "elapsed" => said(hexdag::elapsed().map(|ns| format!("elapsed {}", ns))),
            "random" => {
                let mut buf = vec![0; self.number("/size") as usize];
                said(hexdag::random(&mut buf).map(|_| format!("random {}", sum(&buf))))
            }
            "escape" => format!("escape {}", hexdag::escape(&self.text("/value"))),
            "remember" => format!("remembered {}", REMEMBERED.fetch_add(1, Ordering::Relaxed) + 1),
            other => format!("no step {}", other),
        })
    }

    fn body(&self) -> Result<String, Status> {
        let (mut all, mut pieces) = (Vec::new(), 0);
        let mut buf = vec![0; self.number("/size") as usize];
        loop {
            let n = self.doc.read_body(all.len() as u64, &mut buf)?;
            if n == 0 {
                return Ok(format!("body {} {}", pieces, sum(&all)));
            }
            all.extend_from_slice(&buf[..n]);
            pieces += 1;
        }
    }

    fn body_at(&self) -> Result<String, Status> {
        let mut buf = vec![0; self.number("/size") as usize];
        let n = self.doc.read_body(self.number("/offset") as u64, &mut buf)?;
        Ok(format!("bytes {}", sum(&buf[..n])))
    }

    fn call(&self) -> String {
        let (op, body) = (self.text("/op"), self.text("/body"));
        let mut call = Call::new(&op).body(body.as_bytes());
        for i in 0..self.step.len("/args") {
            let arg = self.step.at(&format!("/args/{}", i));
            let of = |name| arg.text(name).unwrap_or_default();
            call = call.arg(&of("/0"), kind_of(&of("/1")), &of("/2"));
        }
        match call.send() {
            Ok(_) => "ok".to_string(),
            Err(e) if self.step.bool("/short") == Some(true) => e.status.to_string(),
            Err(e) => format!("{} {} {} {}", e.status, e.code, e.retry_ms, e.message),
        }
    }
}

/// Writes a value with the method for its kind.
fn write(doc: &Doc, at: &str, kind: &str, value: &[u8]) -> Result<(), Status> {
    match (kind, std::str::from_utf8(value)) {
        ("string", Ok(text)) => doc.set_text(at, text),
        ("number", Ok(text)) => doc.set_number(at, text),
        ("json", Ok(text)) => doc.set_json(at, text),
        ("null", Ok("null")) => doc.set_null(at),
        ("bool", Ok("true")) => doc.set_bool(at, true),
        ("bool", Ok("false")) => doc.set_bool(at, false),
        _ => doc.set(at, kind_of(kind), value),
    }
}

const KINDS: [(&str, Kind); 8] = [
    ("absent", Kind::Absent),
    ("null", Kind::Null),
    ("bool", Kind::Bool),
    ("number", Kind::Number),
    ("string", Kind::String),
    ("array", Kind::Array),
    ("object", Kind::Object),
    ("json", Kind::Json),
];

fn name_of(kind: Kind) -> &'static str {
    KINDS[kind as usize].0
}

fn kind_of(name: &str) -> Kind {
    KINDS.iter().find(|k| k.0 == name).map_or(Kind::Absent, |k| k.1)
}

fn or_none<T: ToString>(value: Option<T>) -> String {
    value.map_or("none".to_string(), |v| v.to_string())
}

fn said(line: Result<String, Status>) -> String {
    line.unwrap_or_else(|status| status.to_string())
}

fn done(written: Result<(), Status>) -> String {
    said(written.map(|_| "ok".to_string()))
}

/// The length of bytes and their checksum, FNV-1a of 32 bits.
fn sum(bytes: &[u8]) -> String {
    let h = bytes.iter().fold(2166136261u32, |h, b| (h ^ u32::from(*b)).wrapping_mul(16777619));
    format!("{} {}", bytes.len(), h)
}
