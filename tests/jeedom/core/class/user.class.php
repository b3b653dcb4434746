<?php

/** Who is connected; see core/php/authentification.php. */
class user
{
    private $profils;

    public function __construct(string $profile)
    {
        $this->profils = $profile;
    }

    public function getProfils()
    {
        return $this->profils;
    }
}
