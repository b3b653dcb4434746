<?php

declare(strict_types=1);

namespace Domoflux;

/** No daemon answers: it is not running, not installed, or it does not let us in. The message says which. */
final class AwayException extends \Exception
{
}
