"""The one home of Hypothesis strategies."""

# --- label times and splitters -------------------------------------------------

# --- bars, labels and features -------------------------------------------------

# --- frames for the database ---------------------------------------------------

# --- returns, probabilities and trades -----------------------------------------
