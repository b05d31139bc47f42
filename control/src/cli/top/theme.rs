//! What things look like: with colours, or without any where nobody wants them.

use ratatui::style::{Color, Modifier, Style};

/// What a piece of text is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// Of little interest.
    Faint,
    /// As it should be.
    Good,
    /// To be looked at.
    Warn,
    /// Wrong.
    Bad,
    /// A heading.
    Title,
    /// What is chosen.
    Chosen,
    /// So full: from 0, empty, to 5, as good as exhausted.
    Heat(u8),
}

/// Colours or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Theme {
    pub(super) has_colours: bool,
}

/// Backgrounds of heat, from the palette that every terminal of 256 colours has: from a cold blue
/// by green and amber to red. Each is dark enough for white text, or light enough for black.
const HEAT: [(u8, u8); 5] = [(24, 255), (30, 255), (178, 16), (208, 16), (160, 255)];

impl Theme {
    pub(super) fn style(self, tone: Tone) -> Style {
        let style = Style::new();
        let emphasis = match tone {
            Tone::Faint => style.add_modifier(Modifier::DIM),
            Tone::Bad | Tone::Title => style.add_modifier(Modifier::BOLD),
            Tone::Chosen => style.add_modifier(Modifier::REVERSED),
            Tone::Plain | Tone::Good | Tone::Warn | Tone::Heat(_) => style,
        };
        if !self.has_colours {
            return emphasis;
        }
        match tone {
            Tone::Good => emphasis.fg(Color::Green),
            Tone::Warn => emphasis.fg(Color::Yellow),
            Tone::Bad => emphasis.fg(Color::Red),
            Tone::Title => emphasis.fg(Color::Cyan),
            Tone::Heat(level) => match level.checked_sub(1).map(usize::from) {
                None => emphasis.fg(Color::DarkGray),
                Some(at) => {
                    let (back, front) = HEAT[at.min(HEAT.len() - 1)];
                    emphasis.bg(Color::Indexed(back)).fg(Color::Indexed(front))
                }
            },
            Tone::Plain | Tone::Faint | Tone::Chosen => emphasis,
        }
    }
}
