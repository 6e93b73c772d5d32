package api

// The calls of the daemon, with what they take and give. Amounts are decimal
// strings of coins, ids hex, times Unix milliseconds.
const (
	CallStatus          = "status"
	CallStop            = "stop"
	CallPut             = "put"
	CallGet             = "get"
	CallList            = "ls"
	CallCat             = "cat"     // bytes
	CallArchive         = "archive" // bytes: the TGZ of a dataset
	CallStat            = "stat"
	CallLink            = "link"
	CallDeny            = "deny"
	CallExport          = "export"
	CallImport          = "import"
	CallPlay            = "play"
	CallVerify          = "verify"
	CallProve           = "prove"
	CallCommunityCreate = "community/create"
	CallCommunityJoin   = "community/join"
	CallCommunityInfo   = "community/info"
	CallCommunityInvite = "community/invite"
	CallHostEnable      = "host/enable"
	CallHostStatus      = "host/status"
	CallValidator       = "validator/enable"
	CallBalance         = "coin/balance"
	CallSend            = "coin/send"
	CallEpochShow       = "epoch/show"
	CallEpochVerify     = "epoch/verify"
	CallLog             = "log"        // bytes
	CallCARExport       = "car/export" // bytes
	CallCARImport       = "car/import"
	CallCARList         = "car/ls"
	CallCARRemove       = "car/rm"
	CallIPFSFetch       = "ipfs/fetch"
	CallNameSet         = "name/set"
	CallNameList        = "name/ls"
	CallNameShow        = "name/show"
)

// None is a request or a result without content.
type None struct{}

// Status is what `staddle status` shows.
type Status struct {
	Version   string     `json:"version"`
	Account   string     `json:"account"`
	Address   string     `json:"address"`
	Device    string     `json:"device"`
	Addrs     []string   `json:"addrs"`
	Gateway   string     `json:"gateway,omitempty"`
	DHT       string     `json:"dht,omitempty"`
	IPFS      *IPFS      `json:"ipfs,omitempty"`
	Play      string     `json:"play,omitempty"` // host:port for players of this machine
	Peers     []Peer     `json:"peers"`
	Community *Community `json:"community,omitempty"`
	Stored    Stored     `json:"stored"`
	Trouble   string     `json:"trouble,omitempty"`
}

// Peer is a connected device.
type Peer struct {
	Account  string   `json:"account"`
	Addrs    []string `json:"addrs"`
	Sent     uint64   `json:"sent"`
	Received uint64   `json:"received"`
}

// Stored is how the store is used, in bytes.
type Stored struct {
	Datasets int   `json:"datasets"`
	Used     int64 `json:"used"`
	Reserved int64 `json:"reserved"`
	Quota    int64 `json:"quota"`
	AtRisk   int   `json:"atRisk,omitempty"` // files of datasets in place that have changed
}

// Community is what a node knows of its community.
type Community struct {
	Name       string `json:"name"`
	Symbol     string `json:"symbol"`
	Kind       string `json:"kind"`
	Preset     string `json:"preset"`
	Chain      string `json:"chain"`
	Height     uint64 `json:"height"`
	Tip        string `json:"tip"`
	TipTime    int64  `json:"tipTime"`
	Epoch      uint64 `json:"epoch"`
	Power      uint64 `json:"power"` // of this account, in thousandths
	Balance    string `json:"balance"`
	Locked     string `json:"locked"`
	Deposit    string `json:"deposit"`
	Roles      string `json:"roles"`
	Hosts      int    `json:"hosts"`
	Encoders   int    `json:"encoders"`
	Validators int    `json:"validators"`
	Supply     string `json:"supply"`
	Burned     string `json:"burned"`
	Balanced   bool   `json:"balanced"` // what stands in accounts and was burned is the supply
}

// PutRequest publishes a folder.
type PutRequest struct {
	Path       string   `json:"path"`
	Name       string   `json:"name,omitempty"`
	Visibility string   `json:"visibility"`
	To         []string `json:"to,omitempty"`     // accounts, for members
	NewKey     bool     `json:"newKey,omitempty"` // keys of earlier versions shall not open this one
	Strict     bool     `json:"strict,omitempty"`
	Copies     uint32   `json:"copies"` // 0: published, not hosted
	Encoding   string   `json:"encoding,omitempty"`
	Epochs     uint32   `json:"epochs,omitempty"`
	Lock       string   `json:"lock,omitempty"`
	PriceRoom  uint32   `json:"priceRoom,omitempty"` // highest price to bear, as a multiple of the present one; 0: 4
	Wait       bool     `json:"wait"`                // until every copy is kept
	IPFS       bool     `json:"ipfs,omitempty"`      // a UnixFS directory as well, as ipfs add --cid-version=1 makes it
	InPlace    bool     `json:"inPlace,omitempty"`   // pieces that are bytes of files are not copied
	Guard      bool     `json:"guard,omitempty"`     // an error when more than 30 % of the files have vanished
	Keep       string   `json:"keep,omitempty"`      // versions that stay held, such as daily:7,weekly:5
}

// PutResult is a published dataset.
type PutResult struct {
	Ref      string   `json:"ref"`
	Name     string   `json:"name"`
	Root     string   `json:"root"`
	UnixFS   string   `json:"unixfs"`
	Size     uint64   `json:"size"`
	Pieces   uint32   `json:"pieces"`
	Ranges   uint32   `json:"ranges"`
	Tx       string   `json:"tx,omitempty"`
	Plan     string   `json:"plan,omitempty"`
	Lots     int      `json:"lots,omitempty"`
	Active   int      `json:"active,omitempty"`
	Hosts    []string `json:"hosts,omitempty"`
	Locked   string   `json:"locked,omitempty"`
	Likely   string   `json:"likely,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	Repeated bool     `json:"repeated"`          // held already, under this name
	Stored   int64    `json:"stored"`            // bytes of pieces that were not held before
	IPFS     string   `json:"ipfs,omitempty"`    // root of the UnixFS directory
	InPlace  int64    `json:"inPlace,omitempty"` // bytes of pieces kept as parts of files
	Since    *Since   `json:"since,omitempty"`   // what it shares with the version before
	Removed  []string `json:"removed,omitempty"` // versions let go
}

// Since says what a dataset shares with the version before it.
type Since struct {
	Ref          string `json:"ref"` // that version
	Added        int64  `json:"added"`
	Pieces       uint32 `json:"pieces"` // of the new dataset
	Shared       uint32 `json:"shared"` // of them, held by that version, too
	Ranges       uint32 `json:"ranges"`
	SharedRanges uint32 `json:"sharedRanges"`
}

// GetRequest fetches a dataset into a folder.
type GetRequest struct {
	Ref     string   `json:"ref"`
	Dir     string   `json:"dir"`
	Archive bool     `json:"archive,omitempty"` // Dir is a file for the TGZ itself
	Include []string `json:"include,omitempty"`
	Exclude []string `json:"exclude,omitempty"`
	Replace bool     `json:"replace,omitempty"`
	// MaxPrice is the most coins that the whole may cost; empty: no bound but the
	// highest price of a piece.
	MaxPrice string `json:"maxPrice,omitempty"`
}

// GetResult is what a get did.
type GetResult struct {
	Ref      string   `json:"ref"`
	Name     string   `json:"name"`
	Files    int      `json:"files"`
	Bytes    uint64   `json:"bytes"`   // of content written
	Skipped  int      `json:"skipped"` // entries left out, each with a warning
	Fetched  int64    `json:"fetched"` // bytes of pieces from peers
	From     []string `json:"from,omitempty"`
	Paid     string   `json:"paid,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// RefRequest names a dataset or a part of one.
type RefRequest struct {
	Ref       string `json:"ref"`
	Recursive bool   `json:"recursive,omitempty"`
	MaxPrice  string `json:"maxPrice,omitempty"` // of an archive: that of GetRequest
	Mine      bool   `json:"mine,omitempty"`     // of a listing without Ref: what this account has kept by hosts, held here or not
}

// LinkResult is a reference that others can open: of a private dataset a secret.
type LinkResult struct {
	Link string `json:"link"`
}

// CarryRequest takes a dataset into a directory, or out of one.
type CarryRequest struct {
	Ref     string `json:"ref,omitempty"` // of an export
	Dir     string `json:"dir"`
	InPlace bool   `json:"inPlace,omitempty"` // of an import: pieces stay in Dir
}

// CarryResult is a dataset that was exported or imported.
type CarryResult struct {
	Ref    string `json:"ref"`
	Name   string `json:"name"` // hostile text; "" when there is no key for it here
	Size   uint64 `json:"size"`
	Pieces uint32 `json:"pieces"`
	Moved  int64  `json:"moved"` // bytes of pieces that were written; the rest was there

	InPlace int64 `json:"inPlace,omitempty"` // bytes of pieces that stay in the directory
}

// What a DenyRequest asks for.
const (
	DenyAdd    = "add"    // Items: references, CIDs, paths below /ipfs/, rules
	DenyRemove = "rm"     // the same
	DenyImport = "import" // Items: one file
	DenyList   = "ls"
)

// DenyRequest changes or lists what must not leave this machine.
type DenyRequest struct {
	Do    string   `json:"do"`
	Items []string `json:"items,omitempty"`
}

// DenyResult is what a change did, and the lists after it.
type DenyResult struct {
	Changed  int        `json:"changed"` // rules written
	Lists    []DenyFile `json:"lists"`
	Rules    []string   `json:"rules,omitempty"` // own ones, as they stand in the file; of ls
	Warnings []string   `json:"warnings,omitempty"`
}

// DenyFile is one list in force; the last of them wins.
type DenyFile struct {
	File  string `json:"file"`
	Rules int    `json:"rules"`
}

// Entry is one file of a listing.
type Entry struct {
	Name  string `json:"name"` // hostile text
	Type  string `json:"type"`
	Size  int64  `json:"size"`
	Mode  uint32 `json:"mode"`
	Mtime int64  `json:"mtime"` // Unix seconds
	Link  string `json:"link,omitempty"`
}

// ListResult is a listing: the datasets held here, or the entries of one.
type ListResult struct {
	Datasets []Dataset `json:"datasets,omitempty"`
	Entries  []Entry   `json:"entries,omitempty"`
}

// Dataset is one dataset held here.
type Dataset struct {
	Ref   string `json:"ref"`
	Name  string `json:"name"` // hostile text; "" of a private one without a key here
	Size  uint64 `json:"size"`
	For   string `json:"for,omitempty"` // who can read it: me, members, public
	Whole bool   `json:"whole"`
	Added int64  `json:"added"`

	InPlace bool `json:"inPlace,omitempty"` // pieces are kept as parts of files
	AtRisk  int  `json:"atRisk,omitempty"`  // files of it that have changed
}

// CatRequest asks for bytes of one file.
type CatRequest struct {
	Ref    string `json:"ref"`
	Offset int64  `json:"offset,omitempty"`
	Length int64  `json:"length"` // -1: to the end
	// MaxPrice is that of GetRequest.
	MaxPrice string `json:"maxPrice,omitempty"`
}

// PlayResult is where a player of this machine finds a file or directory.
type PlayResult struct {
	Ref string `json:"ref"`
	URL string `json:"url"`
}

// VerifyResult is what a check of a dataset found.
type VerifyResult struct {
	Ref    string   `json:"ref"`
	Pieces uint32   `json:"pieces"`
	Bytes  uint64   `json:"bytes"`
	Sealed bool     `json:"sealed,omitempty"` // bytes are whole; no key here to look inside
	Bad    []string `json:"bad,omitempty"`
}

// ProveRequest challenges the hosts of a dataset.
type ProveRequest struct {
	Ref     string `json:"ref"`
	Samples int    `json:"samples"`
}

// Proved is one host's answer.
type Proved struct {
	Host   string `json:"host"`
	Lots   int    `json:"lots"`
	Good   int    `json:"good"`
	Asked  int    `json:"asked"`
	Millis int64  `json:"millis"`
	Why    string `json:"why,omitempty"`
}

// ProveResult is what all hosts answered, and how sure that makes one.
type ProveResult struct {
	Hosts    []Proved `json:"hosts"`
	Sure     string   `json:"sure"` // chance that a host missing a tenth was caught, in percent
	AllWhole bool     `json:"allWhole"`
}

// Credit is coins of an account.
type Credit struct {
	Account string `json:"account"`
	Coins   string `json:"coins"`
}

// CreateRequest starts a community.
type CreateRequest struct {
	Name     string   `json:"name"`
	Symbol   string   `json:"symbol,omitempty"`
	Kind     string   `json:"kind"`
	Preset   string   `json:"preset"`
	Credits  []Credit `json:"credits,omitempty"`  // without: all to the creator
	Deposits []Credit `json:"deposits,omitempty"` // validators bonded from the start
}

// JoinRequest follows an invite.
type JoinRequest struct {
	Invite string `json:"invite"`
}

// InviteResult is an invite to hand on.
type InviteResult struct {
	Invite string `json:"invite"`
}

// HostEnableRequest offers space or work.
type HostEnableRequest struct {
	SpaceGiB uint32 `json:"spaceGiB"`
	Encode   bool   `json:"encode,omitempty"`
	Bond     string `json:"bond,omitempty"` // coins to bond as an encoder
}

// ValidatorRequest bonds coins as a validator.
type ValidatorRequest struct {
	Deposit string `json:"deposit"`
}

// HostStatus is what this node does for others.
type HostStatus struct {
	State    string `json:"state"`
	SpaceGiB uint32 `json:"spaceGiB"`
	Pieces   uint64 `json:"pieces"`
	Lots     []Lot  `json:"lots"`
	Good     uint64 `json:"good"`
	Failed   uint64 `json:"failed"`
	Missed   uint32 `json:"missed"`
	Proved   string `json:"proved"` // newest epoch with a good bundle, or "none"
}

// Lot is one contract.
type Lot struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Copy   uint32 `json:"copy"`
	Ranges uint32 `json:"ranges"`
	Pieces uint32 `json:"pieces"`
	Host   string `json:"host,omitempty"`
	Since  int64  `json:"since,omitempty"`
}

// BalanceResult is an account's money.
type BalanceResult struct {
	Account string `json:"account"`
	Balance string `json:"balance"`
	Locked  string `json:"locked"`
	Bonds   string `json:"bonds"`
	Pending string `json:"pending"` // of accepted results that are not paid yet; negative: owed
	Symbol  string `json:"symbol"`
	Note    string `json:"note"`
}

// SendRequest wires coins.
type SendRequest struct {
	To    string `json:"to"`
	Coins string `json:"coins"`
}

// SendResult is a wire in a block.
type SendResult struct {
	Tx     string `json:"tx"`
	Height uint64 `json:"height"`
}

// EpochRequest names an epoch; nil means the newest with a result.
type EpochRequest struct {
	Epoch *uint64 `json:"epoch,omitempty"`
}

// Epoch is what is known of a settlement period.
type Epoch struct {
	Epoch     uint64     `json:"epoch"`
	Seconds   uint64     `json:"seconds"` // EpochUnixTimestamp
	Beacon    string     `json:"beacon,omitempty"`
	Result    string     `json:"result,omitempty"`
	Input     string     `json:"input,omitempty"`
	Status    string     `json:"status"`
	Signed    string     `json:"signed,omitempty"` // deposits behind the result
	Deposits  string     `json:"deposits"`
	Storage   string     `json:"storage"`   // wei a piece
	Bandwidth string     `json:"bandwidth"` // wei a unit
	Rows      []EpochRow `json:"rows,omitempty"`
	Logs      string     `json:"logs,omitempty"` // directory of the literal logs, where this node has them
}

// EpochRow is one account's result.
type EpochRow struct {
	Address string `json:"address"`
	S       int64  `json:"s"`
	B       int64  `json:"b"`
	T       string `json:"t"` // wei
}

// EpochVerifyResult is what a second run of an epoch gave.
type EpochVerifyResult struct {
	Epoch     uint64 `json:"epoch"`
	Committed string `json:"committed"`
	Computed  string `json:"computed"`
	Same      bool   `json:"same"`
	Rows      int    `json:"rows"`
	Lines     uint64 `json:"lines"`
}

// LogRequest asks for this node's log of an epoch.
type LogRequest struct {
	Role  string  `json:"role"` // farmer, buyer, bandwidth, verdict
	Epoch *uint64 `json:"epoch,omitempty"`
}

// NameRequest sets a name on the chain; an empty Ref gives it up.
type NameRequest struct {
	Name string `json:"name"`
	Ref  string `json:"ref,omitempty"`
}

// NameQuery asks for names: all of an account (empty: of this node's), or the
// versions of one reference.
type NameQuery struct {
	Account string `json:"account,omitempty"`
	Ref     string `json:"ref,omitempty"`
}

// Name is a name on the chain.
type Name struct {
	Ref     string `json:"ref"` // staddle:COMMUNITY/ACCOUNT/NAME
	Owner   string `json:"owner"`
	Name    string `json:"name"`
	Version uint64 `json:"version"`
	Dataset string `json:"dataset,omitempty"` // empty: given up
	Height  uint64 `json:"height"`
	Time    uint64 `json:"time"`
}

// Names is a list of them; versions come newest first.
type Names struct {
	Names []Name `json:"names"`
}

// IPFS is where the IPFS world reaches this node.
type IPFS struct {
	Addrs   []string `json:"addrs,omitempty"`   // bitswap and graphsync
	Gateway string   `json:"gateway,omitempty"` // HTTP
}

// CARExport asks for a CAR of a dataset, or of a CID that was imported.
type CARExport struct {
	Ref     string `json:"ref"`
	Root    string `json:"root,omitempty"`    // unixfs (default), index, both
	Version uint64 `json:"version,omitempty"` // 1 (default) or 2
}

// CARImport names a CAR on the node's machine.
type CARImport struct {
	Path string `json:"path"`
}

// Imported is blocks that came from elsewhere.
type Imported struct {
	Name   string   `json:"name"` // where from; hostile text
	Roots  []string `json:"roots"`
	Blocks uint64   `json:"blocks"`
	Bytes  uint64   `json:"bytes"`
	Added  int64    `json:"added"`
}

// Imports is a list of them.
type Imports struct {
	Imports []Imported `json:"imports"`
}

// IPFSFetch asks for all below a CID from peers of the IPFS world; by graphsync
// perhaps only pieces [First, End) of Total, counted from 0.
type IPFSFetch struct {
	CID       string   `json:"cid"`
	From      []string `json:"from"`
	GraphSync bool     `json:"graphsync,omitempty"`
	First     int64    `json:"first,omitempty"`
	End       int64    `json:"end,omitempty"`
	Total     int64    `json:"total,omitempty"`
}
