<?php

declare(strict_types=1);

namespace Domoflux;

/** No daemon answers: it is not running, not installed, or it does not let us in. The message says which. */
final class AwayException extends \Exception
{
    /** It may run, and this user may not know where. */
    public const LOCKED_OUT = 1;

    public function isLockedOut(): bool
    {
        return $this->getCode() === self::LOCKED_OUT;
    }
}
