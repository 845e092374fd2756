use hexdag::{deny, replace, NodeCall, Outcome};

hexdag::node_before!(greet);

fn greet(c: &NodeCall) -> Outcome {
    match c.input().text("/name") {
        None => deny("no_name", "the input has no name"),
        Some(name) => {
            c.input().set_text("/greeting", &("hello ".to_owned() + &name))?;
            replace()
        }
    }
}
