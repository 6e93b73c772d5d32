package consensus

import "github.com/staddle/staddle/types"

// Keys of the state (S2): raw bytes, numbers be64.
const (
	keyGlobals  = "g"
	keyContract = "contract"
)

func keyAccount(a types.Account) string { return "a/" + string(a[:]) }
func keyOut(a types.Account, nonce uint64) string {
	return keyAccount(a) + "/out/" + string(types.Be64(nonce))
}
func keyAddress(a types.Address) string       { return "x/" + string(a[:]) }
func keyDataset(d types.DatasetID) string     { return "d/" + string(d[:]) }
func keyPlan(p types.PlanID) string           { return "p/" + string(p[:]) }
func keyLot(l types.LotID) string             { return "c/" + string(l[:]) }
func keyRange(l types.LotID, r uint32) string { return keyLot(l) + "/" + string(types.Be32(r)) }
func keyHost(a types.Account) string          { return "h/" + string(a[:]) }
func keyRegistry(a types.Account) string      { return "r/" + string(a[:]) }
func keyEpoch(e types.Epoch) string           { return "e/" + string(types.Be64(uint64(e))) }
func keyClaim(e types.Epoch, a types.Account) string {
	return keyEpoch(e) + "/" + string(a[:])
}

// keyLate is there as soon as somebody committed logs of the epoch late.
func keyLate(e types.Epoch) string { return keyEpoch(e) + "/late" }

func keyLock(a types.Account, e types.Epoch) string {
	return "m/" + string(a[:]) + "/" + string(types.Be64(uint64(e)))
}

func keyName(a types.Account, name string) string { return "n/" + string(a[:]) + "/" + name }
func keyVersion(a types.Account, name string, n uint64) string {
	return keyName(a, name) + "/" + string(types.Be64(n))
}

// keySkip holds the name of the block at a height inside the mutable range.
func keySkip(h types.Height) string { return "s/" + string(types.Be64(uint64(h))) }

// Lists (key "q/..", pages below): what must be found without knowing its key.
func listRole(r types.Roles) string    { return "q/role/" + string([]byte{byte(r)}) }
func listLots(a types.Account) string  { return "q/lots/" + string(a[:]) }
func listPlans(a types.Account) string { return "q/plans/" + string(a[:]) }
func listDue(h types.Height, d due) string {
	return "q/due/" + string(types.Be64(uint64(h))) + string([]byte{byte(d)})
}
func keyPage(list string, n int) string { return list + "/" + string(types.Be32(uint32(n))) }

// due is a sort of thing that happens at a height fixed before.
type due byte

const (
	dueDraw     due = iota // a lot waits for its draw
	dueDeadline            // of a lot's present state
	dueBundles             // of an epoch: who posted none has missed
	duePlanEnd
	duePlanRefund
	dueEnd
)

func listLocks(e types.Epoch) string { return "q/locks/" + string(types.Be64(uint64(e))) }

func listSigners(e types.Epoch) string { return "q/signers/" + string(types.Be64(uint64(e))) }

// listLateSigners has who signed the result of an epoch's late logs.
func listLateSigners(e types.Epoch) string { return listSigners(e) + "/late" }

// Names (kind 28): of an account, who took one, which one a list means, and what
// a dataset's publisher calls it.
func listNames(a types.Account) string  { return "q/names/" + string(a[:]) }
func listTakers(name string) string     { return "q/takers/" + name }
func keyNameByID(id types.Hash) string  { return "q/name/" + string(id[:]) }
func keyNamed(d types.DatasetID) string { return "q/named/" + string(d[:]) }
