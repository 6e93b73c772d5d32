package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/staddle/staddle/settle"
)

// mrWord is a filter of settlement under its own and its old names.
type mrWord struct {
	stage   string
	reduce  bool
	aliases []string // names in document 003
	short   string
	example string
}

var mrWords = []mrWord{
	{
		settle.StageJoin, false,
		[]string{"smash-map"},
		"read farmer, buyer and verdict logs, write one fact a line",
		"cat buyerlog* farmerlog* | staddle mr 1j map | LC_ALL=C sort | staddle mr 1j reduce",
	},
	{
		settle.StageJoin, true,
		[]string{"smash-reduce"},
		"join sorted facts into one row for each chunk",
		"cat buyerlog* farmerlog* verdictlog* | staddle mr 1j map --verdicts | LC_ALL=C sort | staddle mr 1j reduce --verdicts",
	},
	{
		settle.StageStorage, false,
		[]string{"storage-map"},
		"read rows of 1j, write them under their chunk",
		"staddle mr 1s map <joined | LC_ALL=C sort | staddle mr 1s reduce --beacon HEX",
	},
	{
		settle.StageStorage, true,
		[]string{"storage-reduce"},
		"select the replicas that are paid, add up what each id earned or owes",
		"staddle mr 1s map <joined | LC_ALL=C sort | staddle mr 1s reduce --beacon HEX --report feedback",
	},
	{
		settle.StageBandwidth, false,
		[]string{"bandwidth-map", "validator-1b-map"},
		"read bandwidth logs, write one claim a line under its pair of ids",
		"cat bandwidthlog* | staddle mr 1b map | LC_ALL=C sort | staddle mr 1b reduce",
	},
	{
		settle.StageBandwidth, true,
		[]string{"bandwidth-reduce", "validator-1b-reduce"},
		"match the claims of each pair, add up what each id sent",
		"cat bandwidthlog* | staddle mr 1b map | LC_ALL=C sort | staddle mr 1b reduce --report feedback",
	},
	{
		settle.StageNet, false, nil,
		"read rows that several reducers of 1s or 1b wrote",
		"cat part-* | staddle mr net map | LC_ALL=C sort | staddle mr net reduce",
	},
	{
		settle.StageNet, true, nil,
		"add up the rows of each id",
		"cat part-* | staddle mr net map | LC_ALL=C sort | staddle mr net reduce",
	},
	{
		settle.StageCollate, false,
		[]string{"collation-map"},
		"read rows of 1s and 1b",
		"cat storage bandwidth | staddle mr 2 map | LC_ALL=C sort | staddle mr 2 reduce --storagecost 100 --bandwidthcost 100",
	},
	{
		settle.StageCollate, true,
		[]string{"collation-reduce"},
		"multiply by the prices: the result of the epoch",
		"cat storage bandwidth | staddle mr 2 map | LC_ALL=C sort | staddle mr 2 reduce --storagecost 100 --bandwidthcost 100",
	},
}

const mrLong = `Filters of settlement: lines in, lines out. Each stage is a map and a reduce with
a sort by bytes (LC_ALL=C sort) between them, so that it runs as a shell pipe or
on a cluster. Every parameter may also stand in the environment: --legacy-ids as
STADDLE_LEGACY_IDS. Rejected lines are left out and counted on stderr.`

// mrCommand builds "mr 1j|1s|1b|net|2 map|reduce".
func mrCommand() *cobra.Command {
	root := &cobra.Command{
		Use: "mr", Short: "run a filter of settlement on standard input", Long: mrLong,
		Example: "  " + mrWords[0].example,
	}
	stages := map[string]*cobra.Command{}
	for _, w := range mrWords {
		parent := stages[w.stage]
		if parent == nil {
			parent = &cobra.Command{Use: w.stage, Short: "stage " + w.stage + " of settlement", Example: "  " + w.example}
			stages[w.stage] = parent
			root.AddCommand(parent)
		}
		parent.AddCommand(w.command(w.half()))
	}
	return root
}

// mrAliases builds the filters under the names of document 003, for the top level.
func mrAliases() []*cobra.Command {
	var list []*cobra.Command
	for _, w := range mrWords {
		for _, name := range w.aliases {
			c := w.command(name)
			c.Hidden = true
			list = append(list, c)
		}
	}
	return list
}

func (w mrWord) half() string {
	if w.reduce {
		return "reduce"
	}
	return "map"
}

// mrFlag is a parameter as a flag; for says which filters show it.
type mrFlag struct {
	name  string
	stage string // "" for all
	isSet bool   // a switch without value
	usage string
}

var mrFlags = []mrFlag{
	{settle.NameBeacon, "", false, "beacon of the epoch, 64 hex digits (1s reduce needs it)"},
	{settle.NameLegacyIDs, "", true, "accept ids of 40 hex digits and nodes named by one letter"},
	{settle.NameShard, "", false, "take only keys of this shard, such as 0x3/4"},
	{settle.NameOwner, "", false, "address of the log's owner; lines of others are rejected"},
	{settle.NameEpochEnd, settle.StageJoin, false, "Unix seconds; lines stored then or later are rejected"},
	{settle.NameVerdicts, settle.StageJoin, true, "count only claims that the verdict lines allow"},
	{settle.NameMinRep, settle.StageStorage, false, "replicas below which a buyer is warned (4)"},
	{settle.NameStorageCost, settle.StageCollate, false, "wei for one replica and epoch"},
	{settle.NameBandwidthCost, settle.StageCollate, false, "wei for one unit"},
	{settle.NameValidator, settle.StageCollate, false, "write rows in the document's form with this validatorID"},
	{settle.NameEpochTimestamp, settle.StageCollate, false, "epochtimestamp of that form"},
	{settle.NameSig, settle.StageCollate, false, "sig of that form"},
}

// Names of flags that are files.
const (
	mrReport = "report"
	mrCounts = "counts"
)

func (w mrWord) command(name string) *cobra.Command {
	c := &cobra.Command{
		Use: name, Short: w.short, Example: "  " + w.example,
		Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(c *cobra.Command, _ []string) error { return w.run(c) },
	}
	for _, f := range mrFlags {
		usage := f.usage + " [" + settle.EnvName(f.name) + "]"
		if f.isSet {
			c.Flags().Bool(f.name, false, usage)
		} else {
			c.Flags().String(f.name, "", usage)
		}
		if f.stage != "" && f.stage != w.stage {
			c.Flags().Lookup(f.name).Hidden = true // harmless, so that all filters take the same
		}
	}
	c.Flags().String(mrReport, "", "write feedback for nodes to this file ["+settle.EnvName(mrReport)+"]")
	c.Flags().String(mrCounts, "", "write the counts of lines to this file ["+settle.EnvName(mrCounts)+"]")
	return c
}

// mrValue gives a flag's value, else that of its environment variable.
func mrValue(c *cobra.Command) func(name string) string {
	return func(name string) string {
		if f := c.Flags().Lookup(name); f.Changed {
			return f.Value.String()
		}
		return os.Getenv(settle.EnvName(name))
	}
}

func (w mrWord) run(c *cobra.Command) (err error) {
	stage, err := settle.StageByName(w.stage)
	if err != nil {
		return err
	}
	value := mrValue(c)
	params, err := settle.ParseParams(value)
	if err != nil {
		return err
	}
	if path := value(mrReport); path != "" {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		params.Report = f
	}
	do := stage.Map
	if w.reduce {
		do = stage.Reduce
	}
	counts, err := mrStream(c, func(in io.Reader, out io.Writer) (settle.Counts, error) { return do(params, in, out) })
	if err != nil {
		return fmt.Errorf("mr %s %s: %w", w.stage, w.half(), err)
	}
	if counts.Bad() > 0 {
		fmt.Fprintf(c.ErrOrStderr(), "mr %s %s: %s\n", w.stage, w.half(), counts)
	}
	if path := value(mrCounts); path != "" {
		return os.WriteFile(path, []byte(counts.String()+"\n"), 0o644)
	}
	return nil
}

func mrStream(c *cobra.Command, do func(io.Reader, io.Writer) (settle.Counts, error)) (settle.Counts, error) {
	out := bufio.NewWriterSize(c.OutOrStdout(), 256<<10)
	counts, err := do(c.InOrStdin(), out)
	if flushed := out.Flush(); err == nil {
		err = flushed
	}
	return counts, err
}
