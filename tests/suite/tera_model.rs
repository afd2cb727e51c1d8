//! Pages by chance, beside a model of what variables are in Tera and of what a
//! tag promises: behind it, everything has its old value.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cacheops::Cacheops;
use tera::{Context, Tera};
use tera_cacheops::Tags;

const NAMES: [&str; 3] = ["a", "b", "c"];

enum Node {
    Show(usize),
    Set(usize, u32),
    Global(usize, u32),
    /// A `set` block.
    Capture(usize, Vec<Node>),
    For(usize, Vec<u32>, Vec<Node>, Vec<Node>),
    If(bool, Vec<Node>, Vec<Node>),
    Filter(Vec<Node>),
    Tag(Vec<Node>),
    /// What the layout has in the block.
    Super,
}

/// Numbers by chance, always the same.
struct Dice {
    seed: u64,
    /// Whether there is a layout.
    has_super: bool,
}

impl Dice {
    fn roll(&mut self, sides: u32) -> u32 {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.seed >> 33) as u32) % sides
    }

    fn name(&mut self) -> usize {
        self.roll(3) as usize
    }

    fn nodes(&mut self, depth: u32) -> Vec<Node> {
        (0..self.roll(4) + 1).map(|_| self.node(depth)).collect()
    }

    fn node(&mut self, depth: u32) -> Node {
        let sort = self.roll(if depth == 0 { 6 } else { 13 });
        match sort {
            0 if self.has_super && self.roll(2) == 0 => Node::Super,
            0 | 1 => Node::Show(self.name()),
            2..=4 => Node::Set(self.name(), self.roll(90)),
            5 => Node::Global(self.name(), self.roll(90)),
            6 => Node::Capture(self.name(), self.nodes(depth - 1)),
            7 | 8 => {
                let items = (0..self.roll(3)).map(|_| self.roll(90)).collect();
                Node::For(self.name(), items, self.nodes(depth - 1), self.nodes(depth - 1))
            }
            9 => Node::If(self.roll(2) == 0, self.nodes(depth - 1), self.nodes(depth - 1)),
            10 => Node::Filter(self.nodes(depth - 1)),
            _ => Node::Tag(self.nodes(depth - 1)),
        }
    }
}

fn write(nodes: &[Node], out: &mut String) {
    for node in nodes {
        match node {
            Node::Show(n) => write!(out, "{{{{ {} | default(value='-') }}}};", NAMES[*n]).unwrap(),
            Node::Set(n, value) => write!(out, "{{% set {} = {value} %}}", NAMES[*n]).unwrap(),
            Node::Global(n, value) => {
                write!(out, "{{% set_global {} = {value} %}}", NAMES[*n]).unwrap()
            }
            Node::Capture(n, body) => {
                write!(out, "{{% set {} %}}", NAMES[*n]).unwrap();
                write(body, out);
                out.push_str("{% endset %}");
            }
            Node::For(n, items, body, other) => {
                write!(out, "{{% for {} in {items:?} %}}", NAMES[*n]).unwrap();
                write(body, out);
                out.push_str("{% else %}");
                write(other, out);
                out.push_str("{% endfor %}");
            }
            Node::If(is_true, body, other) => {
                write!(out, "{{% if {is_true} %}}").unwrap();
                write(body, out);
                out.push_str("{% else %}");
                write(other, out);
                out.push_str("{% endif %}");
            }
            Node::Filter(body) => {
                out.push_str("{% filter trim %}");
                write(body, out);
                out.push_str("{% endfilter %}");
            }
            Node::Super => out.push_str("{{ super() }}"),
            Node::Tag(body) => {
                let extra = NAMES.map(|name| format!("{name} | default(value='-')")).join(", ");
                write!(out, "{{% cached extra=[{extra}] %}}").unwrap();
                write(body, out);
                out.push_str("{% endcached %}");
            }
        }
    }
}

type Values = BTreeMap<usize, String>;

/// The variables of a rendering.
#[derive(Clone)]
struct Model<'a> {
    /// The layouts above the one whose block is shown, the nearest first.
    layouts: &'a [Vec<Node>],
    global: Values,
    /// What each loop has: what was set in it goes before its own variable.
    loops: Vec<(Values, usize, String)>,
}

impl<'a> Model<'a> {
    fn new(layouts: &'a [Vec<Node>]) -> Self {
        Model { layouts, global: Values::new(), loops: Vec::new() }
    }

    fn get(&self, name: usize) -> String {
        let of_loop = |(set, own, value): &(Values, usize, String)| {
            set.get(&name).cloned().or_else(|| (*own == name).then(|| value.clone()))
        };
        let found = self.loops.iter().rev().find_map(of_loop);
        found.or_else(|| self.global.get(&name).cloned()).unwrap_or_else(|| "-".to_owned())
    }

    fn set(&mut self, name: usize, value: String) {
        match self.loops.last_mut() {
            Some((set, ..)) => set.insert(name, value),
            None => self.global.insert(name, value),
        };
    }

    fn show(&mut self, nodes: &[Node]) -> String {
        nodes.iter().map(|node| self.show_one(node)).collect()
    }

    fn show_one(&mut self, node: &Node) -> String {
        match node {
            Node::Show(name) => return format!("{};", self.get(*name)),
            Node::Set(name, value) => self.set(*name, value.to_string()),
            Node::Global(name, value) => drop(self.global.insert(*name, value.to_string())),
            Node::Capture(name, body) => {
                let text = self.show(body);
                self.set(*name, text);
            }
            Node::For(_, items, _, other) if items.is_empty() => return self.show(other),
            Node::For(name, items, body, _) => {
                let mut out = String::new();
                for item in items {
                    self.loops.push((Values::new(), *name, item.to_string()));
                    out += &self.show(body);
                    self.loops.pop();
                }
                return out;
            }
            Node::If(is_true, body, other) => {
                return self.show(if *is_true { body } else { other });
            }
            Node::Filter(body) => return self.show(body),
            Node::Super => {
                let Some((next, above)) = self.layouts.split_first() else { return String::new() };
                let here = std::mem::replace(&mut self.layouts, above);
                let out = self.show(next);
                self.layouts = here;
                return out;
            }
            Node::Tag(body) => {
                let before = self.clone();
                let out = self.show(body);
                *self = before;
                return out;
            }
        }
        String::new()
    }
}

/// Renders pages until there is one that is not as in the model; answers how
/// many of them were taken.
fn render(count: u32, seed: u64, layouts: usize) -> u32 {
    let mut dice = Dice { seed, has_super: false };
    let mut taken = 0;
    for _ in 0..count {
        dice.has_super = false;
        let mut chain: Vec<Vec<Node>> = Vec::new();
        for level in 0..=layouts {
            chain
                .insert(0, dice.nodes(if level < layouts { 2 } else { 4 - layouts.min(1) as u32 }));
            dice.has_super = true;
        }
        let templates = templates(&chain);
        let mut tera = Tera::default();
        let tags = Tags::install(&mut tera, &Cacheops::in_memory());
        if let Err(error) = tags.add_templates(&mut tera, templates.clone()) {
            assert!(error.to_string().contains("by another name"), "{templates:?}\n{error}");
            continue;
        }
        taken += 1;
        let mut model = Model::new(&chain[1..]);
        let expected = model.show(&chain[0]) + &model.show(&SHOWS);
        for _ in 0..2 {
            let page = tera.render(&templates[0].0, &Context::new()).unwrap();
            assert_eq!(page, expected, "{templates:?}");
        }
    }
    taken
}

const SHOWS: [Node; 3] = [Node::Show(0), Node::Show(1), Node::Show(2)];

/// The sources of a page and its layouts, the page first.
fn templates(chain: &[Vec<Node>]) -> Vec<(String, String)> {
    let text = |nodes: &[Node]| {
        let mut out = String::new();
        write(nodes, &mut out);
        out
    };
    let source = |(at, nodes): (usize, &Vec<Node>)| {
        let block = match chain.len() {
            1 => text(nodes),
            _ => format!("{{% block x %}}{}{{% endblock %}}", text(nodes)),
        };
        let whole = match at + 1 < chain.len() {
            true => format!("{{% extends '{}' %}}{block}", at + 1),
            false => block + &text(&SHOWS),
        };
        (at.to_string(), whole)
    };
    chain.iter().enumerate().map(source).collect()
}

#[test]
fn pages_by_chance() {
    let taken = render(2_000, 7, 0);
    assert!(taken > 1_000, "{taken}");
}

#[test]
fn pages_by_chance_with_layouts() {
    let taken = render(2_000, 8, 1);
    assert!(taken > 1_000, "{taken}");
    let taken = render(1_000, 9, 2);
    assert!(taken > 400, "{taken}");
}
