// Command testcount runs `go test -json` with the arguments after "--", shows
// what a person needs (packages, failures with their output, each skip with its
// reason) and ends with one line, exactly
//
//	N passed, N failed, N skipped
//
// counted from executed tests. A test that only groups subtests is not counted
// beside them. A package that does not build, or that dies before a test could
// report, counts as one failure. The exit code is 0 only if nothing failed and
// go test itself ended well.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// maxLine bounds one line of go test's output, in bytes.
const maxLine = 8 << 20

func main() {
	summary := flag.String("summary", "", "also write the closing line to this file")
	flag.Parse()
	code, err := run(os.Stdout, flag.Args(), *summary)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testcount:", err)
		code = 1
	}
	os.Exit(code)
}

// run counts one go test with args; the exit code is only meant if err is nil.
func run(w io.Writer, args []string, summary string) (int, error) {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 1, fmt.Errorf("read go test: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("start go test: %w", err)
	}
	tally := newTally(w)
	readErr := feed(out, tally)
	waitErr := cmd.Wait()
	var exit *exec.ExitError
	if waitErr != nil && !errors.As(waitErr, &exit) {
		return 1, fmt.Errorf("run go test: %w", waitErr)
	}
	line := tally.Close()
	if summary != "" {
		if err := os.WriteFile(summary, []byte(line+"\n"), 0o644); err != nil {
			return 1, fmt.Errorf("write summary: %w", err)
		}
	}
	if readErr != nil {
		return 1, fmt.Errorf("read go test: %w", readErr)
	}
	if waitErr != nil || tally.failed > 0 {
		return 1, nil
	}
	return 0, nil
}

// feed hands every line of r to the tally, which keeps what is not JSON as text.
func feed(r io.Reader, t *tally) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for lines.Scan() {
		t.Line(lines.Bytes())
	}
	return lines.Err()
}
