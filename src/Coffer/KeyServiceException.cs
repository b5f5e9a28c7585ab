namespace Coffer;

/// <summary>A wrapper did not do what was asked of it.</summary>
/// <param name="message">What is wrong, in lower case and without a full stop. It holds no secret.</param>
/// <param name="mayPass">Whether it may be otherwise in a while.</param>
internal sealed class KeyServiceException(string message, bool mayPass) : Exception(message)
{
    public bool MayPass { get; } = mayPass;

    /// <summary>How long the service wants to be left alone; zero if it says nothing of it.</summary>
    public TimeSpan RetryAfter { get; init; }
}
