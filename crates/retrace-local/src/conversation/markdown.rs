//! Markdown as a tree of a few elements, in JSON: a text is a string, an element `[name, child, …]`, with an object of attributes
//! after its name where it has any. HTML in it is text.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag};
use serde::{Serialize, Serializer, ser::SerializeSeq as _};

/// Largest depth of nested elements; deeper content is added to the deepest one.
const DEPTH: usize = 24;
/// Largest number of elements and texts in one tree.
const NODES: usize = 20_000;

/// A text or an element.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Text(String),
    Element { name: &'static str, attribute: Option<(&'static str, String)>, children: Vec<Self> },
}

impl Node {
    fn element(name: &'static str, attribute: Option<(&'static str, String)>) -> Self {
        Self::Element { name, attribute, children: Vec::new() }
    }

    /// Creates a text with its line breaks and blanks.
    pub(super) fn preformatted(text: &str) -> Self {
        Self::Element { name: "pre", attribute: None, children: vec![Self::Text(text.to_owned())] }
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Element { name, attribute, children } => {
                let mut list = serializer.serialize_seq(None)?;
                list.serialize_element(name)?;
                if let Some((name, value)) = attribute {
                    list.serialize_element(&std::collections::BTreeMap::from([(name, value)]))?;
                }
                for child in children {
                    list.serialize_element(child)?;
                }
                list.end()
            }
        }
    }
}

/// Reads Markdown: `CommonMark` with tables, strikethrough and task lists.
pub(crate) fn nodes(text: &str) -> Vec<Node> {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut tree = Tree { open: vec![Node::element("div", None)], too_deep: 0, count: 0, in_head: false };
    for event in Parser::new_ext(text, options) {
        tree.add(event);
        if tree.count >= NODES {
            tree.text("…");
            break;
        }
    }
    tree.finish()
}

/// The open elements, outermost first.
struct Tree {
    open: Vec<Node>,
    too_deep: usize,
    count: usize,
    in_head: bool,
}

impl Tree {
    fn add(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::End(_) if self.too_deep > 0 => self.too_deep -= 1,
            Event::End(tag) => {
                if matches!(tag, pulldown_cmark::TagEnd::TableHead) {
                    self.in_head = false;
                }
                self.end();
            }
            Event::Code(text) => self.leaf("code", &text),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => self.text(&text),
            Event::SoftBreak => self.text("\n"),
            Event::HardBreak => self.push(Node::element("br", None)),
            Event::Rule => self.push(Node::element("hr", None)),
            Event::TaskListMarker(is_done) => self.text(if is_done { "☑ " } else { "☐ " }),
            Event::FootnoteReference(text) | Event::InlineMath(text) | Event::DisplayMath(text) => self.text(&text),
        }
    }

    fn start(&mut self, tag: &Tag<'_>) {
        if self.open.len() >= DEPTH {
            self.too_deep += 1;
            return;
        }
        let (name, attribute) = match tag {
            Tag::Heading { level: HeadingLevel::H1 | HeadingLevel::H2, .. } => ("h4", None),
            Tag::Heading { .. } => ("h5", None),
            Tag::BlockQuote(_) => ("blockquote", None),
            Tag::CodeBlock(CodeBlockKind::Fenced(language)) if !language.is_empty() => {
                ("pre", Some(("language", language.chars().take(40).collect())))
            }
            Tag::CodeBlock(_) => ("pre", None),
            Tag::List(Some(start)) => ("ol", Some(("start", start.to_string()))),
            Tag::List(None) => ("ul", None),
            Tag::Item => ("li", None),
            Tag::Table(_) => ("table", None),
            Tag::TableHead => {
                self.in_head = true;
                ("tr", None)
            }
            Tag::TableRow => ("tr", None),
            Tag::TableCell => (if self.in_head { "th" } else { "td" }, None),
            Tag::Emphasis => ("em", None),
            Tag::Strong => ("strong", None),
            Tag::Strikethrough => ("del", None),
            // Remote images are never fetched: their text is shown as a link.
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                let is_address = dest_url.starts_with("https://") || dest_url.starts_with("http://");
                if is_address { ("a", Some(("href", dest_url.to_string()))) } else { ("span", None) }
            }
            Tag::Paragraph => ("p", None),
            _ => ("div", None),
        };
        self.open.push(Node::element(name, attribute));
    }

    fn end(&mut self) {
        if self.open.len() > 1
            && let Some(node) = self.open.pop()
        {
            self.push(node);
        }
    }

    fn leaf(&mut self, name: &'static str, text: &str) {
        self.push(Node::Element { name, attribute: None, children: vec![Node::Text(text.to_owned())] });
    }

    fn text(&mut self, text: &str) {
        let Some(Node::Element { children, .. }) = self.open.last_mut() else { return };
        if let Some(Node::Text(before)) = children.last_mut() {
            before.push_str(text);
        } else {
            self.push(Node::Text(text.to_owned()));
        }
    }

    fn push(&mut self, node: Node) {
        self.count += 1;
        if let Some(Node::Element { children, .. }) = self.open.last_mut() {
            children.push(node);
        }
    }

    fn finish(mut self) -> Vec<Node> {
        while self.open.len() > 1 {
            self.end();
        }
        match self.open.pop() {
            Some(Node::Element { children, .. }) => children,
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json(text: &str) -> String {
        serde_json::to_string(&nodes(text)).unwrap()
    }

    #[test]
    fn markdown_becomes_elements() {
        assert_eq!(
            json("# T\n\nA *b* **c** `d`\n\n- x\n- y"),
            r#"[["h4","T"],["p","A ",["em","b"]," ",["strong","c"]," ",["code","d"]],["ul",["li","x"],["li","y"]]]"#
        );
        assert_eq!(json("```rust\nfn a() {}\n```"), r#"[["pre",{"language":"rust"},"fn a() {}\n"]]"#);
        assert_eq!(
            json("|a|b|\n|-|-|\n|1|2|"),
            r#"[["table",["tr",["th","a"],["th","b"]],["tr",["td","1"],["td","2"]]]]"#
        );
    }

    #[test]
    fn html_is_text_and_only_web_addresses_are_links() {
        let evil = json(
            "<script>alert(1)</script>\n\n<img src=x onerror=alert(1)> [a](javascript:alert(1)) ![b](data:text/html,x)",
        );
        assert!(evil.contains("<script>alert(1)</script>"), "{evil}");
        assert!(!evil.contains("href") && !evil.contains(r#"["script""#) && !evil.contains(r#"["img""#), "{evil}");
        assert!(json("[a](https://example.com/x)").contains(r#"["a",{"href":"https://example.com/x"},"a"]"#));
    }

    #[test]
    fn what_is_deep_or_endless_has_an_end() {
        fn depth(node: &Node) -> usize {
            match node {
                Node::Text(_) => 0,
                Node::Element { children, .. } => 1 + children.iter().map(depth).max().unwrap_or(0),
            }
        }
        let deep = nodes(&format!("{}x", ">".repeat(5_000)));
        assert!(deep.iter().map(depth).max().unwrap() <= DEPTH);
        let many = json(&"- x\n".repeat(40_000));
        assert!(many.len() < 1_000_000 && many.contains('…'), "{}", many.len());
    }

    proptest! {
        #[test]
        fn any_text_has_a_tree(text in r"[\[\]()<>!*_`~|#\-\n a&\\:1.]{0,80}") {
            nodes(&text);
        }
    }
}
