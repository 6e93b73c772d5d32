package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/staddle/staddle/archive"
)

// head begins every JSON object. Fields are only ever added to a schema.
type head struct {
	Type   string `json:"type"` // "item", "warning", "progress", "summary", "error"
	Schema int    `json:"schema"`
}

var (
	item    = head{"item", 1}
	summary = head{"summary", 1}
)

// emit writes one JSON object to stdout.
func (a *app) emit(v any) error { return writeJSON(a.stdout, v) }

func writeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// note tells people something beside the result.
func (a *app) note(format string, args ...any) {
	if !a.quiet && !a.json {
		fmt.Fprintf(a.stderr, format+"\n", args...)
	}
}

// warn names a thing that was left out: on stderr, with --json among the results.
func (a *app) warn(w archive.Warning) {
	if a.json {
		_ = a.emit(struct { // the summary will meet the same error
			head
			Path   string `json:"path"`
			Reason string `json:"reason"`
		}{head{"warning", 1}, w.Path, w.Reason})
		return
	}
	fmt.Fprintf(a.stderr, "%s %s: %s\n", a.paint(yellow, "warning:"), safe(w.Path), safe(w.Reason))
}

// isTerminal reports whether a person looks at w. STADDLE_FORCE_TTY says yes for
// every stream.
func (a *app) isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return a.env("STADDLE_FORCE_TTY") != "" || ok && term.IsTerminal(int(f.Fd()))
}

type colour string

const (
	red    colour = "31"
	yellow colour = "33"
)

// paint colours a word on stderr.
func (a *app) paint(c colour, word string) string {
	use := a.isTerminal(a.stderr) && a.env("NO_COLOR") == "" || a.env("CLICOLOR_FORCE") != ""
	switch a.color {
	case "always":
		use = true
	case "never":
		use = false
	}
	if !use {
		return word
	}
	return "\x1b[" + string(c) + "m" + word + "\x1b[0m"
}

// safe is text of strangers for a terminal: whatever could move the cursor or
// turn the direction of writing is escaped, and so is the escape character.
func safe(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case r == '\\':
			b.WriteString(`\\`)
		case r != ' ' && !unicode.IsGraphic(r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r):
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteRune(r)
		}
		s = s[n:]
	}
	return b.String()
}

var errBinary = &failure{
	&marked{errUsage, "the file is not text and stdout is a terminal"},
	"staddle get REF/PATH -o FILE     or     pipe it into a program",
}

// textOnly lets text through to a terminal and refuses everything else.
type textOnly struct{ w io.Writer }

// Write refuses control characters and, but for a rune that a write may cut,
// bytes that are not UTF-8.
func (t textOnly) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		if r == utf8.RuneError && n == 1 && utf8.FullRune(rest) && len(p)-len(rest) > utf8.UTFMax {
			return 0, errBinary
		}
		if r != '\n' && r != '\t' && r != '\r' && unicode.IsControl(r) {
			return 0, errBinary
		}
		rest = rest[n:]
	}
	return t.w.Write(p)
}

// resultWriter is stdout for the content of files.
func (a *app) resultWriter() io.Writer {
	if a.isTerminal(a.stdout) {
		return textOnly{a.stdout}
	}
	return a.stdout
}

// bytesText is a size for people.
func bytesText(n uint64) string {
	if n < 1024 {
		return strconv.FormatUint(n, 10) + " B"
	}
	value, unit := float64(n)/1024, 0
	for value >= 999.95 && unit < 4 {
		value /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTP"[unit])
}

// counted is a number with its noun.
func counted(n uint64, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "y"):
		return fmt.Sprintf("%d %sies", n, noun[:len(noun)-1])
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// confirm asks on a terminal and needs --yes elsewhere.
func (a *app) confirm(question string) error {
	if a.yes {
		return nil
	}
	in, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) || a.env("STADDLE_NO_PROMPT") != "" {
		return &marked{errAnswer, question + " is not answered"}
	}
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	var answer string
	if _, err := fmt.Fscanln(in, &answer); err != nil && answer != "" {
		return errors.Join(&marked{errAnswer, question + " is not answered"}, err)
	}
	if a := strings.ToLower(answer); a != "y" && a != "yes" {
		return &marked{errAnswer, "answered no"}
	}
	return nil
}
