//! Pages by chance, beside a model of what variables are in Tera and of what a
//! tag promises: behind it, everything has its old value.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cacheops::Cacheops;
use tera::{Context, Tera};
use tera_cacheops::Tags;

const NAMES: [&str; 3] = ["a", "b", "c"];
/// What the fragments stand on.
const TABLES: [&str; 3] = ["t", "u", "v"];
/// The second may stand in the first.
const BLOCKS: [&str; 2] = ["x", "y"];

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
    /// A block, where the layout has it.
    Block(usize),
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
            // What the layout has in it is put there later.
            Node::Block(block) => write!(out, "<{}>", BLOCKS[*block]).unwrap(),
            Node::Tag(body) => {
                let extra = NAMES.map(|name| format!("{name} | default(value='-')")).join(", ");
                let table = TABLES[out.len() % TABLES.len()];
                write!(out, "{{% cached_as \"{table}\", extra=[{extra}] %}}").unwrap();
                write(body, out);
                out.push_str("{% endcached_as %}");
            }
        }
    }
}

type Values = BTreeMap<usize, String>;

/// What the blocks are from the page up to the layout, where there is one.
type Levels = Vec<[Option<Vec<Node>>; 2]>;

/// The variables of a rendering.
#[derive(Clone)]
struct Model<'a> {
    levels: &'a Levels,
    /// The block that is shown, and of which level.
    at: (usize, usize),
    global: Values,
    /// What each loop has: what was set in it goes before its own variable.
    loops: Vec<(Values, usize, String)>,
}

impl<'a> Model<'a> {
    fn new(levels: &'a Levels) -> Self {
        Model { levels, at: (0, 0), global: Values::new(), loops: Vec::new() }
    }

    /// Shows what a block is at the first level from `from` that has it.
    fn show_block(&mut self, block: usize, from: usize) -> String {
        let levels = self.levels.iter().enumerate().skip(from);
        let found = levels.filter_map(|(at, level)| Some((at, level[block].as_ref()?))).next();
        let Some((level, nodes)) = found else { return String::new() };
        let before = std::mem::replace(&mut self.at, (block, level));
        let out = self.show(nodes);
        self.at = before;
        out
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
            Node::Super => return self.show_block(self.at.0, self.at.1 + 1),
            Node::Block(block) => return self.show_block(*block, 0),
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
fn render(count: u32, seed: u64, site: impl Fn(&mut Dice) -> (Vec<Node>, Levels)) -> u32 {
    let mut dice = Dice { seed, has_super: false };
    let (mut taken, mut hits) = (0, 0);
    for _ in 0..count {
        let (layout, levels) = site(&mut dice);
        let templates = templates(&layout, &levels);
        let mut tera = Tera::default();
        let cache = Cacheops::in_memory();
        let tags = Tags::install(&mut tera, &cache);
        if let Err(error) = tags.add_templates(&mut tera, templates.clone()) {
            assert!(error.to_string().contains("by another name"), "{templates:?}\n{error}");
            continue;
        }
        taken += 1;
        let mut model = Model::new(&levels);
        let expected = model.show(&layout) + &model.show(&SHOWS);
        for history in 0..5 {
            // At first all miss, then all hit, then some.
            if history > 1 {
                cache.invalidate_model(TABLES[history - 2]).unwrap();
            }
            let page = tera.render(&templates[0].0, &Context::new()).unwrap();
            assert_eq!(page, expected, "{templates:?}");
        }
        hits += cache.stats().hits;
    }
    println!("{hits} hits in {taken} pages");
    assert!(hits > taken as u64, "{hits} hits in {taken} pages");
    taken
}

const SHOWS: [Node; 3] = [Node::Show(0), Node::Show(1), Node::Show(2)];

/// A page without a layout.
fn alone(dice: &mut Dice) -> (Vec<Node>, Levels) {
    dice.has_super = false;
    (dice.nodes(4), Levels::new())
}

/// A page in some layouts, that fills the one block they have.
fn in_layouts(dice: &mut Dice, layouts: usize) -> (Vec<Node>, Levels) {
    let mut levels = Levels::new();
    for level in 0..=layouts {
        dice.has_super = level > 0;
        levels.insert(0, [Some(dice.nodes(if level < layouts { 2 } else { 3 })), None]);
    }
    (vec![Node::Block(0)], levels)
}

/// Blocks in a block, and tags around them; a page or a layout fills some.
fn in_nested_blocks(dice: &mut Dice) -> (Vec<Node>, Levels) {
    dice.has_super = false;
    let tagged = |nodes: Vec<Node>, dice: &mut Dice| {
        if dice.roll(3) > 0 { vec![Node::Tag(nodes)] } else { nodes }
    };
    let mut layout = dice.nodes(0);
    layout.extend(tagged(vec![Node::Block(0)], dice));
    let mut inside = dice.nodes(0);
    inside.push(Node::Block(1));
    inside.extend(dice.nodes(1));
    let mut outer = dice.nodes(0);
    outer.extend(tagged(inside, dice));
    outer.extend(dice.nodes(0));
    let mut levels: Levels = vec![[Some(outer), Some(dice.nodes(1))]];
    dice.has_super = true;
    for _ in 0..dice.roll(2) + 1 {
        let filled = |dice: &mut Dice| (dice.roll(3) > 0).then(|| dice.nodes(2));
        levels.insert(0, [filled(dice), filled(dice)]);
    }
    (layout, levels)
}

/// The sources of a page and its layouts, the page first.
fn templates(layout: &[Node], levels: &Levels) -> Vec<(String, String)> {
    let text = |nodes: &[Node]| {
        let mut out = String::new();
        write(nodes, &mut out);
        out
    };
    let block = |block: usize, nodes: &Vec<Node>| {
        format!("{{% block {} %}}{}{{% endblock %}}", BLOCKS[block], text(nodes))
    };
    let mut whole = text(layout) + &text(&SHOWS);
    for (at, name) in BLOCKS.iter().enumerate() {
        if let Some(nodes) = levels.last().and_then(|level| level[at].as_ref()) {
            whole = whole.replace(&format!("<{name}>"), &block(at, nodes));
        }
    }
    let mut templates = Vec::new();
    for (level, blocks) in levels.iter().enumerate().take(levels.len().saturating_sub(1)) {
        let filled = blocks.iter().enumerate();
        let filled: String =
            filled.filter_map(|(at, nodes)| Some(block(at, nodes.as_ref()?))).collect();
        templates.push((level.to_string(), format!("{{% extends '{}' %}}{filled}", level + 1)));
    }
    templates.push((templates.len().to_string(), whole));
    templates
}

#[test]
fn random_pages_equal_the_model() {
    let taken = render(2_000, 7, alone);
    assert!(taken > 1_000, "{taken}");
}

#[test]
fn random_pages_with_layouts_equal_the_model() {
    let taken = render(2_000, 8, |dice| in_layouts(dice, 1));
    assert!(taken > 1_000, "{taken}");
    let taken = render(1_000, 9, |dice| in_layouts(dice, 2));
    assert!(taken > 400, "{taken}");
}

#[test]
fn random_pages_with_nested_blocks_equal_the_model() {
    let taken = render(1_500, 10, in_nested_blocks);
    assert!(taken > 800, "{taken}");
}
