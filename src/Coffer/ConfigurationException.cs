namespace Coffer;

/// <summary>Coffer cannot start as it was told to; the command line ends with exit code 78.</summary>
/// <param name="message">What is wrong, in lower case and without a full stop: it follows "coffer: error: ".</param>
/// <param name="hint">What to do, as whole sentences: it follows "coffer: hint: ".</param>
internal sealed class ConfigurationException(string message, string hint) : Exception(message)
{
    public string Hint { get; } = hint;
}
