package deny

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Limits of the format, in bytes.
const (
	maxHeader = 1 << 20
	maxLine   = 2 << 20
)

// Read adds the rules of a list. A line that is no rule goes to warn with its
// number, from 1, and is left out. An error says that the list cannot be used at
// all; rules before it stay.
func (l *List) Read(r io.Reader, warn func(line int, err error)) error {
	in := bufio.NewReaderSize(r, maxHeader)
	skip, err := header(in)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 4096), maxLine)
	for number := 1; lines.Scan(); number++ {
		if number <= skip {
			continue
		}
		text := lines.Text()
		if !utf8.ValidString(text) {
			err = fmt.Errorf("bytes that are not UTF-8: %w", ErrRule)
		} else {
			err = l.Add(text)
		}
		if err == nil {
			continue
		}
		if l.count == MaxRules {
			return err
		}
		warn(number, err)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read a deny list: %w", err)
	}
	return nil
}

// header looks for the line --- that ends the optional header in the first MiB and
// gives the number of lines up to it; 0 when there is none. Of the header only the
// version counts.
func header(in *bufio.Reader) (lines int, err error) {
	ahead, err := in.Peek(maxHeader)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("read a deny list: %w", err)
	}
	version := ""
	for number := 1; len(ahead) > 0; number++ {
		line, rest, _ := bytes.Cut(ahead, []byte("\n"))
		ahead = rest
		text := strings.TrimRight(string(line), "\r ")
		if text == "---" {
			if version != "" && version != "1" {
				return 0, fmt.Errorf("deny list of version %.20q, want 1", version)
			}
			return number, nil
		}
		if v, ok := strings.CutPrefix(text, "version:"); ok {
			version = strings.Trim(v, " \"'")
		}
	}
	return 0, nil
}
