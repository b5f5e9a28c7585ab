namespace Coffer.Storage;

/// <summary>
/// One change to the store, written whole or not at all. The committer reads what the change asks for, under the
/// write lock, lets it decide, and commits its rows together with those of the other changes that wait.
/// </summary>
internal abstract class Change
{
    // Continuations run elsewhere: the committer's loop must never run a request's code.
    private readonly TaskCompletionSource committed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The secret that is read before <see cref="Decide"/>, or null.</summary>
    public virtual SecretKey? SecretAt => null;

    /// <summary>The idempotency record that is read before <see cref="Decide"/>, or null.</summary>
    public virtual IdempotencyKey? IdempotencyAt => null;

    /// <summary>Completes when the change is durable; fails when it was refused or could not be stored.</summary>
    public Task Committed => committed.Task;

    /// <summary>
    /// Decides what to write, given what is stored now. Runs in the committer's loop: no waiting, no I/O. An exception
    /// refuses this change alone. It may run again when the storage asks for the transaction to be repeated.
    /// </summary>
    public abstract IReadOnlyList<RowWrite> Decide(Found found);

    /// <summary>What goes on record about the decision, in the same transaction; asked after <see cref="Decide"/>.</summary>
    /// <param name="refusal">What <see cref="Decide"/> threw, or null.</param>
    public virtual IReadOnlyList<Note> NotesOn(Exception? refusal) => [];

    public void Complete() => committed.TrySetResult();

    public void Fail(Exception reason) => committed.TrySetException(reason);

    /// <summary>What is stored when a change decides.</summary>
    /// <param name="Secret">The row that <see cref="SecretAt"/> names, expired or not, or null.</param>
    /// <param name="Idempotency">The record that <see cref="IdempotencyAt"/> names, however old, or null.</param>
    /// <param name="LiveInScope">Counts the secrets in a scope (blind index) of the same tenant that are not expired at a Unix second.</param>
    public readonly record struct Found(SecretRow? Secret, IdempotencyRow? Idempotency, Func<byte[], long, int> LiveInScope);

    /// <summary>Nothing but something to put on record.</summary>
    public sealed class Noted(params Note[] notes) : Change
    {
        public override IReadOnlyList<RowWrite> Decide(Found found) => [];

        public override IReadOnlyList<Note> NotesOn(Exception? refusal) => notes;
    }

    /// <summary>Rows that need no decision.</summary>
    public sealed class Plain(params RowWrite[] rows) : Change
    {
        public IReadOnlyList<Note> Notes { get; init; } = [];

        public override IReadOnlyList<Note> NotesOn(Exception? refusal) => Notes;

        public override IReadOnlyList<RowWrite> Decide(Found found) => rows;
    }
}
